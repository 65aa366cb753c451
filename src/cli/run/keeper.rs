//! Keeps a program registered: registers it once its port answers, renews its lease, registers it again where the server has forgotten it, and
//! deregisters it at the end.
//!
//! Requests are never given up half way while the program runs, because one that the server still carries out would undo what follows it; only
//! pauses end early.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::address::{NotReady, is_same_place};
use super::listener;
use super::notes::Notes;
use super::plan::Plan;
use super::{RunArgs, Stage};
use crate::cli::client::Client;
use crate::cli::exit::{Exit, Failure};
use crate::cli::lookup;
use crate::model::backoff::Backoff;
use crate::model::text::escape;
use crate::wire::{Instance, Service};

/// Pauses between connections to a port that does not answer.
const LISTENING: Backoff = Backoff::exact(Duration::from_millis(20), Duration::from_millis(500));
/// Pauses after a server was not reached; the longest is a third of the time between renewals at most.
const UNREACHABLE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Pauses after a refusal, which seldom changes by itself.
const REFUSED: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// How long after it was asked to stop a program that still runs is registered again.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The status of a request about a generation that is not the instance's any more.
const PRECONDITION_FAILED: u16 = 412;

/// What the server holds.
#[derive(Debug, Clone)]
struct Held {
    service: Uuid,
    instance: String,
    generation: u64,
}

/// Keeps one program registered.
pub(super) struct Keeper<'a> {
    plan: Plan,
    notes: &'a Notes,
    stage: watch::Receiver<Stage>,
    client: Option<Client>,
    /// The program's address, once its port has answered.
    base_url: Option<String>,
    held: Option<Held>,
    /// The newest generation that was refused since the last renewal.
    refused_generation: Option<u64>,
    /// Whether the server may hold a registration: an answer never came, or a renewal was refused.
    unsure: bool,
    /// Whether another program had the port before this one was started, and may have it still.
    taken: bool,
    /// Whether the program's port has answered.
    was_ready: bool,
    /// Why it could not be registered when that was tried last.
    not_ready: Option<NotReady>,
    /// When a silent port is reported.
    silent_at: Option<Instant>,
    ready_within: Duration,
    /// What was last reported to be wrong.
    problem: Option<String>,
    listening: Backoff,
    unreachable: Backoff,
    refused: Backoff,
}

impl<'a> Keeper<'a> {
    /// Keeps what `plan` says registered, depending on the program's stage.
    ///
    /// # Errors
    /// An address of a server or a token that no server can accept.
    pub(super) fn new(
        plan: Plan,
        args: &RunArgs,
        notes: &'a Notes,
        stage: watch::Receiver<Stage>,
    ) -> Result<Self, Failure> {
        Client::check(&plan.server)?;
        let (first, longest) = UNREACHABLE;
        let unreachable = Backoff::new(first, longest.min(plan.interval / 3).max(first));
        Ok(Self {
            plan,
            notes,
            stage,
            client: None,
            base_url: None,
            held: None,
            refused_generation: None,
            unsure: false,
            taken: false,
            was_ready: false,
            not_ready: None,
            silent_at: None,
            ready_within: args.ready_within,
            problem: None,
            listening: LISTENING,
            unreachable,
            refused: REFUSED,
        })
    }

    /// Looks whether the port is taken before the program starts.
    pub(super) async fn look_around(&mut self) {
        let port = self.plan.location.port();
        self.taken = self.plan.location.is_taken().await;
        self.silent_at = Some(Instant::now() + self.ready_within);
        if self.taken {
            self.notes.say(&format!(
                "port {port} answers although the program has not started: another program listens there, so nothing is registered until \
                 that one ends or this one listens too; give this one another port"
            ));
        }
    }

    /// Keeps it registered until the program has ended, and then deregisters it, if need be repeatedly: whoever calls this limits the time
    /// for that.
    pub(super) async fn run(&mut self) {
        self.stay(Stage::Running).await;
        // Asked to stop: nobody should find it while it finishes its work.
        self.leave().await;
        tokio::select! {
            () = sleep(STOP_TIMEOUT) => {}
            () = past(self.stage.clone(), Stage::Stopping) => return,
        }
        let seconds = STOP_TIMEOUT.as_secs();
        self.notes.say(&format!("it still runs {seconds} s after it was asked to stop: registering it again"));
        self.stay(Stage::Stopping).await;
        self.leave().await;
    }

    /// Says that it is still registered.
    pub(super) fn give_up(&self, why: &str) {
        match (&self.held, self.unsure) {
            (Some(_), _) => self.notes.say(&format!("still registered until its lease expires: {why}")),
            (None, true) => self.notes.say(&format!("possibly registered until its lease expires: {why}")),
            (None, false) => {}
        }
    }

    /// Says that a program which has ended was never registered because its port never answered.
    pub(super) fn say_if_never_ready(&self) {
        // Without a tunnel nobody has looked at the port.
        let looked = self.client.is_some() || self.plan.server.context.is_none();
        if self.was_ready || !looked {
            return;
        }
        let port = self.plan.location.port();
        self.notes.say(&match &self.not_ready {
            _ if self.taken => format!("never registered: the program ended while another one had port {port}"),
            Some(why @ (NotReady::LoopbackOnly(_) | NotReady::Unresolved(..))) => format!("never registered: {why}"),
            Some(NotReady::Silent(_)) | None => {
                format!("never registered: the program ended before port {port} answered")
            }
        });
    }

    /// Whether what answers at a port that was taken is the program by now: the port was free for a moment, or the program listens.
    async fn is_still_taken(&mut self) -> bool {
        let port = self.plan.location.port();
        self.taken = self.taken && self.plan.location.is_taken().await && !listener::is_of_a_child(port);
        self.taken
    }

    fn is_past(&self, stage: Stage) -> bool {
        *self.stage.borrow() > stage
    }

    /// Registers and renews until the program is past that stage.
    async fn stay(&mut self, stage: Stage) {
        while !self.is_past(stage) {
            let pause = match self.client().await {
                Ok(client) => self.step(&client, stage).await,
                Err(failure) => self.failed(&failure),
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = past(self.stage.clone(), stage) => return,
            }
        }
    }

    /// The client; a tunnel into a cluster may need several attempts.
    async fn client(&mut self) -> Result<Client, Failure> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = Client::new(&self.plan.server).await?;
        self.client = Some(client.clone());
        Ok(client)
    }

    /// Does what is next; returns the pause after it.
    async fn step(&mut self, client: &Client, stage: Stage) -> Duration {
        if let Some(held) = self.held.clone() {
            return self.renew(client, &held).await;
        }
        if self.base_url.is_none() {
            if self.is_still_taken().await {
                return self.listening.next();
            }
            let found = tokio::select! {
                found = self.plan.location.find(client) => found,
                () = past(self.stage.clone(), stage) => return Duration::ZERO,
            };
            match found {
                Ok(url) => self.base_url = Some(url),
                Err(why) => return self.silent(why),
            }
        }
        let base_url = self.base_url.clone().unwrap_or_default();
        self.register(client, &base_url).await
    }

    /// It cannot be registered yet.
    fn silent(&mut self, why: NotReady) -> Duration {
        if self.silent_at.is_some_and(|at| Instant::now() >= at) {
            self.silent_at = None;
            self.report(format!("not registered: {why}; trying again"));
        }
        self.not_ready = Some(why);
        self.listening.next()
    }

    async fn register(&mut self, client: &Client, base_url: &str) -> Duration {
        self.was_ready = true;
        let unsure_before = self.unsure;
        self.unsure = true;
        let reply = client.post(&["services", "register"], Some(self.plan.body(base_url))).await;
        let registered = reply.and_then(|reply| {
            let service: Service = reply.read()?;
            Ok((self.plan.find(&service, base_url).map(|instance| held(&service, instance)), service, reply.warnings))
        });
        match registered {
            Ok((Some(held), service, warnings)) => {
                for warning in warnings {
                    self.notes.say(&format!("warning: {warning}"));
                }
                let name = format!("{}/{}/{}", service.namespace, service.name, held.instance);
                self.notes.say(&format!("registered {name} at {base_url}"));
                (self.held, self.unsure) = (Some(held), false);
                self.renewed()
            }
            Ok((None, ..)) => self.failed(&Failure::new(Exit::Unreachable, "the server's answer lacks the instance")),
            Err(failure) => {
                // What an earlier request did is still not known.
                self.unsure = unsure_before || may_have_registered(&failure);
                self.failed(&failure)
            }
        }
    }

    async fn renew(&mut self, client: &Client, held: &Held) -> Duration {
        let path = ["services", &held.service.to_string(), "instances", &held.instance, "heartbeat"];
        match client.put_generation(&path, held.generation).await {
            Ok(_) => {
                if self.problem.is_some() {
                    self.notes.say("renewed: the registry answers again");
                }
                self.renewed()
            }
            // A server that hangs or is away has forgotten nothing.
            Err(failure) if failure.exit == Exit::Unreachable => self.failed(&failure),
            Err(failure) if failure.status == Some(PRECONDITION_FAILED) => self.replaced(client, held).await,
            Err(failure) => {
                self.report(match failure.exit {
                    Exit::NotFound => "not renewed: the registry no longer knows it; registering it again".to_owned(),
                    _ => format!("not renewed: {}; registering it again", sentence(&failure)),
                });
                // One that refuses has not forgotten it.
                self.unsure |= failure.exit != Exit::NotFound;
                self.held = None;
                Duration::ZERO
            }
        }
    }

    /// The instance was registered again: with other checks at this program's own address, or by another program, which keeps the name until it
    /// leaves.
    async fn replaced(&mut self, client: &Client, refused: &Held) -> Duration {
        match self.look_up(client).await {
            Ok(Some(ours)) => {
                self.refused_generation = self.refused_generation.max(Some(refused.generation));
                // A replica that is behind the leader shows a generation that the leader will refuse as well.
                let is_behind = Some(ours.generation) <= self.refused_generation;
                self.held = Some(ours);
                if is_behind { self.at_a_replica_behind() } else { Duration::ZERO }
            }
            Ok(None) => {
                self.report("not renewed: another program has since taken over this name".to_owned());
                self.plan.interval
            }
            Err(failure) => self.failed(&failure),
        }
    }

    /// The pause at a replica that is behind.
    fn at_a_replica_behind(&mut self) -> Duration {
        self.disconnect();
        self.report("not renewed: the server shows an older registration of this program; trying again".to_owned());
        self.unreachable.next()
    }

    /// The pause until the next renewal. Clients that were started together drift apart.
    fn renewed(&mut self) -> Duration {
        self.problem = None;
        self.refused_generation = None;
        self.unreachable.reset();
        self.refused.reset();
        self.plan.interval.mul_f64(rand::random_range(0.8..=1.0))
    }

    fn failed(&mut self, failure: &Failure) -> Duration {
        let what = if self.held.is_some() { "not renewed" } else { "not registered" };
        // Tried again all the same: the server's settings may change.
        let remedy = if failure.exit == Exit::Usage { "; change the flags to correct this" } else { "" };
        self.report(format!("{what}: {}{remedy}; trying again", sentence(failure)));
        self.disconnect_after(failure);
        if failure.exit == Exit::Unreachable { self.unreachable.next() } else { self.refused.next() }
    }

    /// Leaves a server that answers but fails.
    fn disconnect_after(&mut self, failure: &Failure) {
        if failure.exit == Exit::Unreachable && failure.status.is_some() {
            self.disconnect();
        }
    }

    /// Connects anew for the next call: another connection may reach another replica. A tunnel is kept.
    fn disconnect(&mut self) {
        if self.plan.server.context.is_none() {
            self.client = None;
        }
    }

    /// Says what is wrong, once until something else is.
    fn report(&mut self, problem: String) {
        if self.problem.as_ref() != Some(&problem) {
            self.notes.say(&problem);
            self.problem = Some(problem);
        }
    }

    /// Deregisters what may be registered, and repeats that while the server is away.
    async fn leave(&mut self) {
        let mut pauses = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        while self.held.is_some() || self.unsure {
            match self.deregister().await {
                Err(failure) if failure.exit == Exit::Unreachable => {
                    self.disconnect_after(&failure);
                    sleep(pauses.next()).await;
                }
                ended => {
                    self.notes.say(&ended.unwrap_or_else(|failure| sentence(&failure)));
                    self.forget();
                }
            }
        }
        self.forget();
    }

    fn forget(&mut self) {
        (self.held, self.unsure, self.base_url, self.problem) = (None, false, None, None);
        self.silent_at = None;
    }

    /// Removes the instance as it was registered: one that another program has registered since stays. Returns what to say.
    async fn deregister(&mut self) -> Result<String, Failure> {
        let client = self.client().await?;
        let held = match self.held.clone() {
            Some(held) => Some(held),
            None => self.look_up(&client).await?,
        };
        let Some(held) = held else { return Ok("not registered".to_owned()) };
        let path = ["services", &held.service.to_string(), "instances", &held.instance];
        match client.delete_generation(&path, held.generation).await {
            Ok(_) => Ok("deregistered".to_owned()),
            Err(failure) if failure.exit == Exit::NotFound => Ok("was no longer registered".to_owned()),
            Err(failure) if failure.status == Some(PRECONDITION_FAILED) => {
                Ok("not deregistered: another program has since taken over this name".to_owned())
            }
            Err(failure) => Err(failure),
        }
    }

    /// The registration that the server may hold, if it does.
    async fn look_up(&self, client: &Client) -> Result<Option<Held>, Failure> {
        let found = lookup::service(client, &self.plan.name, self.plan.namespace.as_deref()).await;
        let service = match found {
            Ok((service, _)) => service,
            Err(failure) if failure.exit == Exit::NotFound => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let base_url = self.base_url.as_deref().unwrap_or_default();
        let ours = self.plan.find(&service, base_url).filter(|found| is_same_place(&found.base_url, base_url));
        Ok(ours.map(|instance| held(&service, instance)))
    }
}

fn held(service: &Service, instance: &Instance) -> Held {
    Held { service: service.id, instance: instance.name.to_string(), generation: instance.generation }
}

/// A failure as one sentence. What to do about a server that is away is known: wait.
fn sentence(failure: &Failure) -> String {
    let hints = failure.hints.iter().filter(|_| failure.exit != Exit::Unreachable).map(String::as_str);
    let mut text = failure.message.clone();
    for hint in hints {
        // One that ends with a colon introduces the next.
        text.push_str(if text.ends_with(':') { " " } else { "; " });
        text.push_str(hint);
    }
    escape(&text, 600)
}

/// Whether a call that failed may have registered the instance all the same: a server got it and did not refuse it, or a proxy may have
/// passed it on.
fn may_have_registered(failure: &Failure) -> bool {
    let passed_on = |status| matches!(status, 200..=299 | 408 | 500 | 502..=504);
    failure.exit == Exit::Unreachable && !failure.unsent && failure.status.is_none_or(passed_on)
}

async fn past(mut stages: watch::Receiver<Stage>, stage: Stage) {
    // Whoever sends stages lives as long as the keeper.
    let _ = stages.wait_for(|now| *now > stage).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_that_introduces_the_next_is_joined_to_it() {
        let failure = Failure::new(Exit::Refused, "a token is required").hint("this makes one:").hint("export A=b");
        assert_eq!(sentence(&failure), "a token is required; this makes one: export A=b");
    }

    #[test]
    fn only_a_server_that_got_a_call_may_have_carried_it_out() {
        let away = |status, unsent| Failure { status, unsent, ..Failure::new(Exit::Unreachable, "away") };
        assert!(may_have_registered(&away(None, false)), "no answer came");
        assert!(may_have_registered(&away(Some(504), false)), "of a proxy");
        assert!(!may_have_registered(&away(None, true)), "no connection");
        assert!(!may_have_registered(&away(Some(501), false)), "another program's answer");
        assert!(!may_have_registered(&Failure { status: Some(422), ..Failure::new(Exit::Refused, "full") }));
    }
}
