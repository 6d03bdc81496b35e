//! The smallest session: two sealed endpoints on real sockets, one of which sends back what it hears.

use std::error::Error;
use std::net::UdpSocket;

use sealgram::{Config, Guarantee, SealedEndpoint, SecretKey};

fn main() -> Result<(), Box<dyn Error>> {
    let (near, far) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    near.connect(far.local_addr()?)?;
    far.connect(near.local_addr()?)?;
    let (my_key, their_key) = (SecretKey::generate()?, SecretKey::generate()?);
    let mut me = SealedEndpoint::paired(near, &my_key, their_key.public_key(), Config::default())?;
    let mut them = SealedEndpoint::paired(far, &their_key, my_key.public_key(), Config::default())?;

    me.connect()?;
    me.send_payload(Guarantee::Delivery, b"is there anybody out there?")?;
    loop {
        while let Some(message) = them.recv()? {
            let words = message.to_vec();
            them.send_payload(Guarantee::Delivery, &words)?;
        }
        if let Some(echo) = me.recv()? {
            assert_eq!(&*echo, b"is there anybody out there?");
            println!("echo: {}", String::from_utf8_lossy(&echo));
            return Ok(());
        }
        // A game calls these once per frame.
        me.maintain()?;
        them.maintain()?;
    }
}
