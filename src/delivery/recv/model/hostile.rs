//! Frames without sense: the queue alone, held against its limits.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// No frame, however foolish, breaks the accounts, the limits, or panics.
    #[test]
    fn a_hostile_peer_stays_within_its_bounds(seed in any::<u64>(), lazy in 0_u64..100) {
        let mut dice = Dice(seed);
        let small = RecvLimits {
            window_bytes: 20_000,
            unreliable_bytes: 5_000,
            max_message: 4_000,
            max_unreliable: 2_000,
            max_fragments: 8,
        };
        let mut rig = Rig::new(small);
        let bytes = [7; 5_000];
        let mut lent = Vec::new();
        for _ in 0..400 {
            let lane = u8::try_from(dice.below(2) * 255).unwrap();
            let scale = [4, 20, 200, 70_000, u64::MAX][dice.size(5)];
            let (set, base, index) = (dice.below(scale), dice.below(scale), dice.below(scale));
            let numbers = match dice.below(3) {
                0 => Numbers::None,
                1 => Numbers::Order { set, base },
                _ => Numbers::Delivery { set, base, index },
            };
            let longest = [1, 40, 1_000, 5_000][dice.size(4)];
            let len = dice.size(longest);
            let total = u32::try_from(len + dice.size(3) * dice.size(1_000)).unwrap();
            let offset = u32::try_from(dice.size(3) * dice.size(1_000)).unwrap();
            let part = if dice.percent(50) { Part::Whole } else { Part::Fragment { offset, total } };
            let id = dice.percent(80).then(|| dice.below(scale.min(2_000)));
            let life = dice.percent(20).then(|| u32::try_from(dice.below(100)).unwrap());
            let frame = MessageFrame { lane, numbers, id, life, part, bytes: &bytes[..len] };
            let _ = rig.queue.insert(rig.now, &frame, 0);
            rig.queue.detach(&bytes);
            while !dice.percent(lazy) {
                let Some(ready) = rig.queue.pop() else { break };
                if let Place::Stored(handle) = ready.place {
                    lent.push(handle);
                }
            }
            while lent.len() > 3 {
                let handle = lent.swap_remove(dice.size(lent.len()));
                prop_assert!(rig.queue.bytes(handle).iter().all(|&byte| byte == 7));
                rig.queue.release(handle);
            }
            if dice.percent(10) {
                let _ = rig.queue.skip(rig.now, lane, dice.below(scale), dice.below(scale));
            }
            if dice.percent(5) {
                rig.wait(dice.below(1_500));
                rig.queue.expire(rig.now);
            }
            if dice.percent(1) {
                rig.queue.shrink();
            }
            let _ = rig.queue.window_update();
            rig.check();
        }
    }
}
