//! `quinn` with `ring`, on a `tokio` runtime of one thread at each end: datagrams for what may be lost, one stream with
//! lengths in front of the messages for what may not. It starts with datagrams of 1,452 bytes, so that messages of 1,200 fit
//! at once, and has windows of 8 MiB; the certificate is its own root, and no session is resumed.

use std::{
    future::Future,
    net::{SocketAddr, UdpSocket},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig, TokioRuntime,
    TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    CipherSuite, RootCertStore, SupportedCipherSuite,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{runtime::Runtime, task::yield_now, time::sleep_until};

use super::LARGEST_DATAGRAM;
use crate::{
    end::{Demand, End, Outcome, Pair, Wire},
    machine::socket,
};

const WINDOW: u32 = 8 << 20;
pub const NAME: &str = "localhost";
/// In front of a message on the stream.
const LENGTH: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    Aes,
    ChaCha,
}

pub struct Configs {
    pub client: ClientConfig,
    pub server: ServerConfig,
}

fn provider(suite: Option<Suite>) -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.kx_groups = vec![ring::kx_group::X25519];
    let wanted = suite.map(|suite| match suite {
        Suite::Aes => CipherSuite::TLS13_AES_128_GCM_SHA256,
        Suite::ChaCha => CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    });
    provider.cipher_suites.retain(|each| wanted.is_none_or(|wanted| each.suite() == wanted));
    Arc::new(provider)
}

fn transport() -> Outcome<Arc<TransportConfig>> {
    let mut transport = TransportConfig::default();
    transport.initial_mtu(u16::try_from(LARGEST_DATAGRAM)?);
    transport.stream_receive_window(VarInt::from_u32(WINDOW));
    transport.receive_window(VarInt::from_u32(WINDOW));
    transport.send_window(WINDOW.into());
    transport.datagram_receive_buffer_size(Some(WINDOW as usize));
    transport.datagram_send_buffer_size(WINDOW as usize);
    // For each stream that it permits it allocates at once.
    transport.max_concurrent_uni_streams(1_u32.into());
    transport.max_concurrent_bidi_streams(0_u32.into());
    Ok(Arc::new(transport))
}

pub fn configs(suite: Suite) -> Outcome<Configs> {
    let identity = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let certificate = CertificateDer::from(identity.cert);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der()));
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    // The very first packets are sealed with AES, whatever follows.
    let all = provider(None);
    let initial = all.cipher_suites.iter().find_map(SupportedCipherSuite::tls13);
    let initial = all
        .cipher_suites
        .iter()
        .filter(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256)
        .find_map(SupportedCipherSuite::tls13)
        .or(initial)
        .and_then(|suite| suite.quic_suite())
        .ok_or("no suite for the first packets")?;
    let mut client = rustls::ClientConfig::builder_with_provider(provider(Some(suite)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    let server = rustls::ServerConfig::builder_with_provider(provider(Some(suite)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let client = QuicClientConfig::with_initial(Arc::new(client), initial)?;
    let server = QuicServerConfig::with_initial(Arc::new(server), initial)?;
    let mut client = ClientConfig::new(Arc::new(client));
    client.transport_config(transport()?);
    let mut server = ServerConfig::with_crypto(Arc::new(server));
    server.transport_config(transport()?);
    Ok(Configs { client, server })
}

pub fn runtime() -> Outcome<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

pub fn endpoint(runtime: &Runtime, socket: UdpSocket, server: Option<ServerConfig>) -> Outcome<Endpoint> {
    let _inside = runtime.enter();
    Ok(Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime))?)
}

/// What is there without waiting.
fn ready<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Lets tasks run: once for what the program did, twice for what the socket has.
pub async fn let_run(times: usize) {
    for _ in 0..times {
        yield_now().await;
    }
}

struct QuinnEnd {
    runtime: Runtime,
    _endpoint: Endpoint,
    connection: Connection,
    reliable: bool,
    out: Option<SendStream>,
    queue: BytesMut,
    stream: Option<RecvStream>,
    unread: BytesMut,
    early: Vec<Bytes>,
}

impl QuinnEnd {
    fn dial(socket: UdpSocket, client: ClientConfig, to: SocketAddr, demand: Demand) -> Outcome<Self> {
        let runtime = runtime()?;
        let mut endpoint = endpoint(&runtime, socket, None)?;
        endpoint.set_default_client_config(client);
        let (connection, out) = runtime.block_on(async {
            let connection = endpoint.connect(to, NAME)?.await?;
            let out = if demand.reliable { Some(connection.open_uni().await?) } else { None };
            Outcome::Ok((connection, out))
        })?;
        Ok(Self { out, ..Self::new(runtime, endpoint, connection, demand) })
    }

    fn answer(socket: UdpSocket, server: ServerConfig, demand: Demand) -> Outcome<Self> {
        let runtime = runtime()?;
        let endpoint = endpoint(&runtime, socket, Some(server))?;
        let connection = runtime.block_on(async {
            let incoming = endpoint.accept().await.ok_or("the endpoint is closed")?;
            Outcome::Ok(incoming.await?)
        })?;
        Ok(Self::new(runtime, endpoint, connection, demand))
    }

    fn new(runtime: Runtime, endpoint: Endpoint, connection: Connection, demand: Demand) -> Self {
        Self {
            runtime,
            _endpoint: endpoint,
            connection,
            reliable: demand.reliable,
            out: None,
            queue: BytesMut::new(),
            stream: None,
            unread: BytesMut::new(),
            early: Vec::new(),
        }
    }

    /// Whole messages out of what came by the stream.
    fn split(unread: &mut BytesMut, to: &mut dyn FnMut(&[u8])) {
        while let Some((len, rest)) = unread.split_first_chunk::<LENGTH>() {
            let len = u32::from_le_bytes(*len) as usize;
            let Some(message) = rest.get(..len) else { return };
            to(message);
            unread.advance(LENGTH + len);
        }
    }
}

impl End for QuinnEnd {
    fn connected(&mut self) -> Outcome<bool> {
        Ok(true)
    }

    fn offer(&mut self, message: &[u8]) -> Outcome<bool> {
        if self.reliable {
            self.queue.extend_from_slice(&u32::try_from(message.len())?.to_le_bytes());
            self.queue.extend_from_slice(message);
        } else {
            self.connection.send_datagram(Bytes::copy_from_slice(message))?;
        }
        Ok(true)
    }

    fn leave(&mut self) -> Outcome<()> {
        let Self { runtime, out, queue, .. } = self;
        runtime.block_on(async {
            if let Some(out) = out.as_mut().filter(|_| !queue.is_empty()) {
                out.write_chunk(queue.split().freeze()).await?;
            }
            let_run(1).await;
            Ok(())
        })
    }

    fn hear(&mut self, to: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        let Self { runtime, connection, stream, unread, early, reliable, .. } = self;
        early.drain(..).for_each(|message| to(&message));
        runtime.block_on(async {
            let_run(2).await;
            if !*reliable {
                while let Some(message) = ready(connection.read_datagram()) {
                    to(&message?);
                }
                return Ok(());
            }
            if stream.is_none() {
                *stream = ready(connection.accept_uni()).transpose()?;
            }
            let Some(stream) = stream else { return Ok(()) };
            while let Some(chunk) = ready(stream.read_chunk(usize::MAX, true)) {
                let Some(chunk) = chunk? else { break };
                unread.extend_from_slice(&chunk.bytes);
                Self::split(unread, to);
            }
            Ok(())
        })
    }

    fn rest(&mut self, most: Duration) -> Outcome<()> {
        let Self { runtime, connection, stream, unread, early, reliable, .. } = self;
        let until = Instant::now() + most;
        let news = async {
            match stream {
                Some(stream) => {
                    if let Some(chunk) = stream.read_chunk(usize::MAX, true).await? {
                        unread.extend_from_slice(&chunk.bytes);
                    }
                }
                None if *reliable => *stream = Some(connection.accept_uni().await?),
                None => early.push(connection.read_datagram().await?),
            }
            Outcome::Ok(())
        };
        let waited = runtime.block_on(async { tokio::time::timeout_at(until.into(), news).await });
        waited.unwrap_or(Ok(()))
    }

    fn pause(&mut self, until: Instant) -> Outcome<()> {
        self.runtime.block_on(async { sleep_until(until.into()).await });
        Ok(())
    }

    fn wire(&self) -> Option<Wire> {
        let sent = self.connection.stats().udp_tx;
        Some(Wire::with_headers(sent.datagrams, sent.bytes))
    }
}

pub fn pair(suite: Suite, demand: Demand) -> Outcome<Pair> {
    let [one, two] = [socket()?, socket()?];
    let (address, configs) = (two.local_addr()?, configs(suite)?);
    Ok(Pair::new(
        move || QuinnEnd::dial(one, configs.client, address, demand),
        move || QuinnEnd::answer(two, configs.server, demand),
    ))
}
