//! A DNS server on loopback whose answers a test decides.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

/// What the server does with a question.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// These addresses of the type asked for, with this TTL in seconds.
    Addresses(Vec<IpAddr>, u32),
    /// The name is another one's alias, which has these addresses.
    Alias(String, Vec<IpAddr>),
    /// An error.
    Code(ResponseCode),
    /// Nothing is known, and nobody is asked.
    Lame,
    /// Bytes that are no answer.
    Garbage,
    /// There is more over TCP.
    Truncated,
    /// Nothing.
    Silence,
}

impl Reply {
    pub(crate) fn addresses(addresses: &[&str], ttl: u32) -> Self {
        Self::Addresses(addresses.iter().map(|text| text.parse().expect("an address")).collect(), ttl)
    }
}

type Questions = Arc<Mutex<Vec<(String, RecordType)>>>;

/// The server; it ends with the value.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    questions: Questions,
    _tasks: JoinSet<()>,
}

impl Dns {
    /// Answers by `decide`, which gets the name without its last dot, the type, and how often that was asked before.
    pub(crate) async fn start(decide: impl Fn(&str, RecordType, usize) -> Reply + Send + 'static) -> Self {
        let (socket, listener) = both().await;
        let address = socket.local_addr().expect("an address");
        let questions = Questions::default();
        let asked = questions.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                tokio::select! {
                    received = socket.recv_from(&mut buffer) => {
                        let Ok((length, from)) = received else { return };
                        if let Some(answer) = answer(&buffer[..length], &decide, &asked) {
                            drop(socket.send_to(&answer, from).await);
                        }
                    }
                    accepted = listener.accept() => {
                        let Ok((mut stream, _)) = accepted else { return };
                        while let Ok(length) = stream.read_u16().await {
                            stream.read_exact(&mut buffer[..length.into()]).await.expect("a message");
                            let Some(answer) = answer(&buffer[..length.into()], &decide, &asked) else { continue };
                            stream.write_u16(answer.len().try_into().expect("short")).await.expect("is read");
                            stream.write_all(&answer).await.expect("is read");
                        }
                    }
                }
            }
        });
        Self { address, questions, _tasks: tasks }
    }

    /// How many names were asked for.
    pub(crate) fn names(&self) -> usize {
        let questions = self.questions.lock().expect("not poisoned");
        questions.iter().map(|(name, _)| name).collect::<std::collections::HashSet<_>>().len()
    }

    /// How often this was asked.
    pub(crate) fn asked(&self, name: &str, kind: RecordType) -> usize {
        count(&self.questions.lock().expect("not poisoned"), name, kind)
    }
}

fn count(questions: &[(String, RecordType)], name: &str, kind: RecordType) -> usize {
    questions.iter().filter(|(asked, of)| asked == name && *of == kind).count()
}

/// One port for UDP and TCP.
async fn both() -> (UdpSocket, TcpListener) {
    loop {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.expect("a port");
        if let Ok(listener) = TcpListener::bind(socket.local_addr().expect("an address")).await {
            return (socket, listener);
        }
    }
}

fn answer(question: &[u8], decide: &impl Fn(&str, RecordType, usize) -> Reply, asked: &Questions) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).expect("a DNS message");
    let query = question.queries.first().expect("a query").clone();
    let (name, kind) = (query.name().to_ascii().trim_end_matches('.').to_owned(), query.query_type());
    let mut asked = asked.lock().expect("not poisoned");
    let reply = decide(&name, kind, count(&asked, &name, kind));
    asked.push((name, kind));
    let mut message = question.into_response();
    message.metadata.recursion_available = !matches!(reply, Reply::Lame);
    let mut add = |name: &Name, ttl, addresses: Vec<IpAddr>| {
        for data in addresses.into_iter().map(RData::from).filter(|data| data.record_type() == kind) {
            message.answers.push(Record::from_rdata(name.clone(), ttl, data));
        }
    };
    match reply {
        Reply::Silence => return None,
        Reply::Garbage => {
            let mut bytes = message.to_vec().expect("encodes");
            bytes.truncate(9);
            return Some(bytes);
        }
        Reply::Code(code) => message.metadata.response_code = code,
        Reply::Lame => {}
        Reply::Truncated => message.metadata.truncation = true,
        Reply::Addresses(addresses, ttl) => add(query.name(), ttl, addresses),
        Reply::Alias(real, addresses) => {
            let real = Name::from_ascii(real + ".").expect("a name");
            add(&real, 60, addresses);
            let alias = RData::CNAME(CNAME(real));
            message.answers.push(Record::from_rdata(query.name().clone(), 60, alias));
        }
    }
    Some(message.to_vec().expect("encodes"))
}
