"""Profiles: pattern, prologue, keys of an invite and the base of the envelope keys ("Profiles")."""

from dataclasses import dataclass

from primitives import check_static, dh, hmac, public_key

WIRE_VERSION = 1


@dataclass(frozen=True)
class Profile:
    name: str
    byte: int
    pattern: str
    base: str  # where the envelope base comes from: "dh", "invite" or "network"
    symmetric: bool  # either side may begin
    responder_static: bool  # the envelope key names the responder


PROFILES = {p.name: p for p in (
    Profile("Paired", 0x01, "KK", "dh", True, False),
    Profile("PairedPsk", 0x11, "KKpsk2", "dh", True, False),
    Profile("Invite", 0x02, "NNpsk0", "invite", True, False),
    Profile("InviteTofu", 0x12, "XXpsk3", "invite", True, False),
    Profile("Tofu", 0x03, "XX", "network", True, False),
    Profile("Client", 0x04, "NK", "network", False, True),
    Profile("ClientAuth", 0x05, "IK", "network", False, True),
    Profile("ClientAuthPsk", 0x15, "IKpsk2", "network", False, True),
)}


@dataclass
class Credentials:
    """What one end is configured with. `psk` is a psk of the psk profiles; `invite` is S of an invite."""

    profile: Profile
    app_id: bytes = b""
    route: bytes = b""
    own_secret: bytes = None
    peer_public: bytes = None
    psk: bytes = None
    invite: bytes = None
    network_key: bytes = None

    def prologue(self):
        return (b"sealgram/1" + bytes([WIRE_VERSION, self.profile.byte])
                + bytes([len(self.app_id)]) + self.app_id + bytes([len(self.route)]) + self.route)

    def noise_psk(self):
        if self.profile.base == "invite":
            return hmac(self.invite, b"sealgram/1 psk\x01")
        return self.psk

    def envelope_base(self):
        if self.profile.base == "dh":
            return hmac(dh(self.own_secret, check_static(self.peer_public)), b"sealgram/1 env\x01")
        if self.profile.base == "invite":
            return hmac(self.invite, b"sealgram/1 env\x01")
        return self.network_key or bytes(32)

    def envelope_key(self, direction, responder_public=None):
        """K_env[dir] ("Envelope"). Only three profiles end it with the responder's static key."""
        data = (b"sealgram/1 envelope" + bytes([self.profile.byte, direction])
                + bytes([len(self.app_id)]) + self.app_id)
        if self.profile.responder_static:
            data += responder_public
        return hmac(self.envelope_base(), data)

    def responder_public(self, initiator):
        """The responder's static key as this end knows it, where the envelope key needs it."""
        if not self.profile.responder_static:
            return None
        return self.peer_public if initiator else public_key(self.own_secret)
