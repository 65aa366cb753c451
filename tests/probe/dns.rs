//! A DNS server on loopback whose answers a test decides.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// What the server does with a question.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// These addresses of the type asked for, with this TTL in seconds.
    Addresses(Vec<IpAddr>, u32),
    /// An error.
    Code(ResponseCode),
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
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let questions = Questions::default();
        let asked = questions.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).expect("a DNS message");
                if let Some(answer) = answer(question, &decide, &asked) {
                    drop(socket.send_to(&answer, from).await);
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

fn answer(question: Message, decide: &impl Fn(&str, RecordType, usize) -> Reply, asked: &Questions) -> Option<Vec<u8>> {
    let query = question.queries.first().expect("a query").clone();
    let (name, kind) = (query.name().to_ascii().trim_end_matches('.').to_owned(), query.query_type());
    let mut asked = asked.lock().expect("not poisoned");
    let reply = decide(&name, kind, count(&asked, &name, kind));
    asked.push((name, kind));
    let mut message = question.into_response();
    message.metadata.recursion_available = true;
    match reply {
        Reply::Silence => return None,
        Reply::Code(code) => message.metadata.response_code = code,
        Reply::Addresses(addresses, ttl) => {
            for address in addresses {
                let data = RData::from(address);
                if data.record_type() == kind {
                    message.add_answer(Record::from_rdata(query.name().clone(), ttl, data));
                }
            }
        }
    }
    Some(message.to_vec().expect("encodes"))
}
