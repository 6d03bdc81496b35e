//! A process of Quilkin as the balancer: its configuration, its life and its death.

use std::{
    fmt::Write as _,
    fs,
    io::{ErrorKind, Read, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::story::{Balancer, Outcome, Place, ROUTE_LEN};

pub(crate) struct Quilkin {
    home: IpAddr,
    program: PathBuf,
    config: PathBuf,
    port: u16,
    /// Where it answers whether it is ready.
    admin: SocketAddr,
    process: Option<Child>,
}

impl Quilkin {
    /// Starts it in front of these servers, with its configuration in `folder`. It drops what comes from loopback, so
    /// players and balancer meet at another address of this machine.
    pub(crate) fn before(program: &Path, folder: &Path, home: IpAddr, places: &[Place]) -> Outcome<Self> {
        if home.is_loopback() {
            return Err(
                "quilkin takes nothing from loopback: --home names another address of this machine".into()
            );
        }
        let config = folder.join(format!("fleet-{}.yaml", std::process::id()));
        fs::write(&config, configuration(places))?;
        // It takes a port for UDP, not an address, and none of its own choice: both are free now, and soon taken.
        let port = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?.local_addr()?.port();
        let admin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut quilkin = Self { home, program: program.to_owned(), config, port, admin, process: None };
        quilkin.start()?;
        Ok(quilkin)
    }
}

/// A balancer that looks at the first bytes of each datagram, leaves them where they are, and sends it to the server
/// that has them among its tokens.
fn configuration(places: &[Place]) -> String {
    let mut text = format!(
        "version: v1alpha1\n\
         filters:\n\
         \x20 - name: quilkin.filters.capture.v1alpha1.Capture\n\
         \x20   config:\n\
         \x20     prefix:\n\
         \x20       size: {ROUTE_LEN}\n\
         \x20       remove: false\n\
         \x20 - name: quilkin.filters.token_router.v1alpha1.TokenRouter\n\
         clusters:\n\
         \x20 - endpoints:\n"
    );
    for place in places {
        let _ = write!(
            text,
            "\x20     - address: {}\n\
             \x20       metadata:\n\
             \x20         quilkin.dev:\n\
             \x20           tokens:\n\
             \x20             - {}\n",
            place.address,
            base64(&place.route)
        );
    }
    text
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 4];
        three[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(three);
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 63;
            text.push(if place <= chunk.len() { char::from(ALPHABET[index as usize]) } else { '=' });
        }
    }
    text
}

impl Balancer for Quilkin {
    fn address(&self) -> SocketAddr {
        (self.home, self.port).into()
    }

    /// SIGKILL.
    fn kill(&mut self) -> Outcome<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    fn start(&mut self) -> Outcome<()> {
        let process = Command::new(&self.program)
            .args(["--quiet", "--service.id", "fleet", "--service.udp"])
            .args(["--service.udp.port", &self.port.to_string()])
            .args(["--admin.address", &self.admin.to_string()])
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        self.process = Some(process);
        Ok(())
    }

    fn is_ready(&mut self) -> Outcome<bool> {
        if let Some(status) = self.process.as_mut().map(Child::try_wait).transpose()?.flatten() {
            return Err(format!("quilkin ended by itself: {status}").into());
        }
        let answer =
            TcpStream::connect_timeout(&self.admin, Duration::from_millis(200)).and_then(|mut admin| {
                admin.set_read_timeout(Some(Duration::from_millis(500)))?;
                admin.write_all(b"GET /ready HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n\r\n")?;
                let mut status = [0; 12];
                admin.read_exact(&mut status)?;
                Ok(status)
            });
        match answer {
            Ok(status) => Ok(&status == b"HTTP/1.1 200"),
            // Not there yet.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error.into()),
            Err(_) => Ok(false),
        }
    }
}

impl Drop for Quilkin {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = fs::remove_file(&self.config);
    }
}
