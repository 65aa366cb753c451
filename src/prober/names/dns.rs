//! A DNS client that asks as the C library does ([`res_send`](https://man7.org/linux/man-pages/man3/resolver.3.html)): the servers in
//! order, the next one if a server is silent, refuses, fails or cannot answer; over UDP, and over TCP if the answer is truncated.
//!
//! Two things differ, since probes have only seconds: the next server is asked after 1.5 s of silence, and a silent server comes last for
//! a while.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::Unresolved;
use super::resolv_conf::Config;

/// How long a server may stay silent while there is another try.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long a server must have been asked in vain to count as silent when its asker gives up: many probes have less time than [`PATIENCE`].
const SILENT_AFTER: Duration = Duration::from_millis(500);
/// How long to wait for the other address family once one has answered.
const OTHER_FAMILY: Duration = Duration::from_millis(500);
/// How long a server that was silent comes last.
const LAST_FOR: Duration = Duration::from_secs(30);
/// Longest chain of aliases.
const MAX_ALIASES: usize = 16;
/// Most bytes of an answer over UDP. We announce only the traditional 512, but some servers send more.
const MAX_UDP: usize = 4096;

/// Asks the servers of a configuration.
#[derive(Debug)]
pub(crate) struct Client {
    config: Config,
    /// Since when each server is silent, if it is.
    silent: Mutex<Vec<Option<Instant>>>,
}

/// The addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// IPv4 first.
    pub(crate) addresses: Vec<IpAddr>,
    /// Whether the servers answered for both families.
    pub(crate) complete: bool,
    /// When the addresses expire.
    pub(crate) until: std::time::Instant,
}

/// A server's answer for one family.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// These addresses, perhaps none, and for how many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// The name does not exist in any family.
    NoName,
    /// An error such as SERVFAIL, or something that cannot be read.
    Error,
    /// Truncated: the whole answer comes over TCP.
    Truncated,
}

/// The question about one family.
struct Question {
    kind: RecordType,
    id: u16,
    answer: Option<Answer>,
}

impl Question {
    fn new(kind: RecordType) -> Self {
        Self { kind, id: rand::random(), answer: None }
    }

    fn conclusive(&self) -> bool {
        matches!(self.answer, Some(Answer::Addresses(..) | Answer::NoName))
    }

    /// Whether it is enough, so that no other server is asked for the other family, which had its time.
    fn enough(&self) -> bool {
        match &self.answer {
            Some(Answer::Addresses(found, _)) => !found.is_empty(),
            answer => *answer == Some(Answer::NoName),
        }
    }

    fn message(&self, name: &Name) -> io::Result<Vec<u8>> {
        let mut message = Message::query();
        message.metadata.id = self.id;
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name.clone(), self.kind));
        message.to_vec().map_err(io::Error::other)
    }
}

/// A server that is being asked.
struct Asking<'a> {
    client: &'a Client,
    server: usize,
    since: Instant,
    /// Whether it has given a whole answer, or had all of its time.
    done: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.done && self.since.elapsed() >= SILENT_AFTER {
            self.client.note(self.server, false);
        }
    }
}

impl Client {
    pub(crate) fn new(config: Config) -> Self {
        let silent = Mutex::new(vec![None; config.servers.len()]);
        Self { config, silent }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The addresses of exactly this name.
    ///
    /// # Errors
    /// [`Unresolved`].
    pub(crate) async fn addresses(&self, name: &Name) -> Result<Resolved, Unresolved> {
        let mut questions = vec![Question::new(RecordType::A)];
        if !self.config.no_aaaa {
            questions.push(Question::new(RecordType::AAAA));
        }
        let tries = self.config.servers.len() * self.config.attempts.max(1) as usize;
        let order = self.order();
        for (n, server) in order.iter().cycle().take(tries).enumerate() {
            let wait = if n + 1 < tries { self.config.timeout.min(PATIENCE) } else { self.config.timeout };
            self.ask(*server, name, &mut questions, Instant::now() + wait).await;
            if questions.iter().all(Question::conclusive) || questions.iter().any(Question::enough) {
                break;
            }
        }
        sum_up(questions)
    }

    /// The servers' indexes in the order to ask; recently silent ones come last.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.config.servers.len()).collect();
        if self.config.rotate && !order.is_empty() {
            let first = rand::random_range(0..order.len());
            order.rotate_left(first);
        }
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        order.sort_by_key(|n| silent.get(*n).copied().flatten().is_some_and(|since| since.elapsed() < LAST_FOR));
        order
    }

    /// Asks one server the questions that are still open.
    async fn ask(&self, server: usize, name: &Name, questions: &mut [Question], until: Instant) {
        let Some(address) = self.config.servers.get(server) else { return };
        let mut open: Vec<_> = questions.iter_mut().filter(|question| !question.conclusive()).collect();
        let size = if self.config.single { 1 } else { open.len().max(1) };
        let mut asking = Asking { client: self, server, since: Instant::now(), done: false };
        for questions in open.chunks_mut(size) {
            asking.since = Instant::now();
            for question in questions.iter_mut() {
                question.answer = None;
            }
            if !self.config.tcp {
                // What failed stays open, and the next server is asked.
                drop(over_udp(*address, name, questions, until, &mut asking.done).await);
            }
            if self.config.tcp || questions.iter().any(|question| question.answer == Some(Answer::Truncated)) {
                drop(timeout_at(until, over_tcp(*address, name, questions, &mut asking.done)).await);
            }
        }
        asking.done = true;
        self.note(server, open.iter().any(|question| question.answer.is_some()));
    }

    /// Notes whether a server answers.
    fn note(&self, server: usize, answered: bool) {
        if let Some(silent) = self.silent.lock().unwrap_or_else(PoisonError::into_inner).get_mut(server) {
            *silent = (!answered).then(Instant::now);
        }
    }
}

fn sum_up(questions: Vec<Question>) -> Result<Resolved, Unresolved> {
    let complete = questions.iter().all(Question::conclusive);
    let (mut found, mut seconds, mut failure) = (Vec::new(), u32::MAX, Unresolved::NotFound);
    let no_name = questions.iter().any(|question| question.answer == Some(Answer::NoName));
    for question in questions {
        match question.answer {
            Some(Answer::Addresses(addresses, ttl)) => {
                if !addresses.is_empty() {
                    seconds = seconds.min(ttl);
                }
                found.extend(addresses);
            }
            Some(Answer::NoName) => {}
            Some(Answer::Error | Answer::Truncated) => failure = failure.max(Unresolved::ServerError),
            None => failure = failure.max(Unresolved::ResolverDown),
        }
    }
    match found.is_empty() {
        false => {
            let until = Instant::now() + Duration::from_secs(seconds.into());
            Ok(Resolved { addresses: found, complete, until: until.into_std() })
        }
        true if no_name => Err(Unresolved::NotFound),
        true => Err(failure),
    }
}

/// Sends the questions from their own socket and port, and takes the answers that match them. Sets `answered` once there is one.
async fn over_udp(
    server: SocketAddr,
    name: &Name,
    questions: &mut [&mut Question],
    until: Instant,
    answered: &mut bool,
) -> io::Result<()> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    for question in questions.iter() {
        socket.send(&question.message(name)?).await?;
    }
    let mut until = until;
    let mut buffer = vec![0; MAX_UDP];
    while questions.iter().any(|question| question.answer.is_none()) {
        let Ok(received) = timeout_at(until, socket.recv(&mut buffer)).await else { return Ok(()) };
        let length = received?;
        *answered |= take(buffer.get(..length).unwrap_or_default(), name, questions);
        if questions.iter().any(|question| question.enough()) {
            until = until.min(Instant::now() + OTHER_FAMILY);
        }
    }
    Ok(())
}

async fn over_tcp(
    server: SocketAddr,
    name: &Name,
    questions: &mut [&mut Question],
    answered: &mut bool,
) -> io::Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    for question in questions.iter_mut().filter(|question| !question.conclusive()) {
        let message = question.message(name)?;
        let length = u16::try_from(message.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &message].concat()).await?;
        question.answer = None;
    }
    while questions.iter().any(|question| question.answer.is_none()) {
        let length = stream.read_u16().await?;
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await?;
        *answered |= take(&answer, name, questions);
    }
    Ok(())
}

/// Gives an answer to the question that it matches; anything else is ignored. Returns whether that was a whole answer.
fn take(bytes: &[u8], name: &Name, questions: &mut [&mut Question]) -> bool {
    let Some(id) = bytes.first_chunk().map(|id| u16::from_be_bytes(*id)) else { return false };
    let mut open = questions.iter_mut().filter(|question| question.answer.is_none());
    let Some(question) = open.find(|question| question.id == id) else { return false };
    let Ok(message) = Message::from_vec(bytes) else {
        question.answer = Some(Answer::Error);
        return true;
    };
    let query = message.queries.first();
    let same = query.is_some_and(|query| query.name() == name && query.query_type() == question.kind);
    let refused = query.is_none() && message.metadata.response_code != ResponseCode::NoError;
    if message.metadata.message_type == MessageType::Response && (same || refused) {
        question.answer = Some(read(&message, name, question.kind));
    }
    question.answer.as_ref().is_some_and(|answer| *answer != Answer::Truncated)
}

fn read(message: &Message, name: &Name, kind: RecordType) -> Answer {
    let head = &message.metadata;
    // A lame server, which neither recurses nor is authoritative, sends nothing; that says nothing about the name.
    let lame = message.answers.is_empty()
        && !head.authoritative
        && !head.recursion_available
        && message.additionals.is_empty();
    match head.response_code {
        ResponseCode::NXDomain => Answer::NoName,
        ResponseCode::NoError if head.truncation => Answer::Truncated,
        ResponseCode::NoError if lame => Answer::Error,
        ResponseCode::NoError => addresses(message, name, kind),
        // SERVFAIL, REFUSED and the like.
        _ => Answer::Error,
    }
}

/// The addresses at the end of the name's aliases.
fn addresses(message: &Message, name: &Name, kind: RecordType) -> Answer {
    let (mut name, mut ttl) = (name.clone(), u32::MAX);
    for _ in 0..MAX_ALIASES {
        let alias = message.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(alias) if record.name == name => Some((alias.0.clone(), record.ttl)),
            _ => None,
        });
        let Some((alias, seconds)) = alias else { break };
        (name, ttl) = (alias, ttl.min(seconds));
    }
    let mut found = Vec::new();
    for record in message.answers.iter().filter(|record| record.name == name && record.record_type() == kind) {
        found.extend(record.data.ip_addr());
        ttl = ttl.min(record.ttl);
    }
    Answer::Addresses(found, ttl)
}
