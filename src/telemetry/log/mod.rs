//! The log: `tracing` events on standard error, as text for people or as JSON for machines.
//!
//! In: events, panics and access lines. Out: whole lines, or a count of those that were dropped.
//!
//! Read in this order: this file (start and end of the log), `targets` (the promised names), `format` (what a line looks like), `queue`
//! (which never blocks), `line` (lines that do not come from an event), `panics`.

mod format;
mod line;
mod panics;
pub mod queue;
pub mod targets;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, fmt};

use queue::LogQueue;

/// The target of access lines: `LOG_LEVEL=info,portolan::access=off` leaves them out.
pub const ACCESS_TARGET: &str = "portolan::access";

/// What the log shows, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or directives (`info,portolan::prober=debug`).
    pub directives: String,
    /// One JSON object per line instead of text.
    pub json: bool,
}

/// Why the log cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Neither a level nor directives.
    #[error("LOG_LEVEL is neither a level nor a list of directives: {0}")]
    Directives(#[from] tracing_subscriber::filter::ParseError),
    /// The process already has a log.
    #[error("the log was started twice: {0}")]
    Twice(#[from] tracing::subscriber::SetGlobalDefaultError),
    /// Standard error is unusable, or the system refuses a thread.
    #[error("the log cannot start: {0}")]
    System(#[from] io::Error),
}

/// How long the process waits at its end for the log's reader.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// The process's log, once it runs.
static RUNNING: OnceLock<LogQueue> = OnceLock::new();

/// Starts the process's log, once. From then on events and panics go to it.
///
/// # Errors
/// [`LogError`] if the directives are wrong, a log is already running, or the system refuses.
pub fn start(settings: &LogSettings) -> Result<LogQueue, LogError> {
    // A descriptor of our own: a write that blocks would hold the lock of `std::io::stderr`.
    let out = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let queue = LogQueue::start(Box::new(out), settings.json)?;
    let subscriber = subscriber(settings, queue.clone(), wants_colour())?;
    tracing::subscriber::set_global_default(subscriber)?;
    panics::log_to(queue.clone());
    Ok(RUNNING.get_or_init(|| queue).clone())
}

/// Writes a failure's text to the running log. False if none is running; then the caller may write to standard error itself.
pub fn last_words(text: &str) -> bool {
    let Some(queue) = RUNNING.get() else { return false };
    queue.push(text.as_bytes().to_vec(), true);
    true
}

/// At the process's end: waits until the log is written, for at most one second, since its reader may have stopped for good.
pub fn finish() {
    if let Some(queue) = RUNNING.get() {
        queue.flush(LAST_WAIT);
    }
}

/// The writer for access lines, unless the log's level hides them.
pub fn access_lines(log: &LogQueue) -> Option<Box<dyn Write + Send>> {
    shows_access().then(|| Box::new(log.clone()) as Box<dyn Write + Send>)
}

/// Access lines have the level `info` and [`ACCESS_TARGET`].
fn shows_access() -> bool {
    tracing::enabled!(target: ACCESS_TARGET, tracing::Level::INFO)
}

/// Colour only on a terminal, and only if the user has not declined it ([no-color.org](https://no-color.org)).
fn wants_colour() -> bool {
    let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    !declined && !dumb && io::stderr().is_terminal()
}

fn subscriber<W>(settings: &LogSettings, writer: W, colour: bool) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let mut filter = EnvFilter::builder().parse(&settings.directives)?;
    // kube logs every answer of 500 and above as an error. Our callers log what such an answer means, once.
    if !settings.directives.contains("kube") {
        filter = filter.add_directive("kube_client=off".parse()?);
    }
    // A closed pipe must not become a panic: failed writes are dropped silently.
    let builder = fmt().with_env_filter(filter).with_writer(writer).with_ansi(colour).log_internal_errors(false);
    Ok(if settings.json {
        Box::new(builder.json().map_event_format(format::Json::of).finish())
    } else {
        Box::new(builder.event_format(format::Text).finish())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What `emit` logs under these settings.
    fn logged(directives: &str, json: bool, emit: impl FnOnce()) -> String {
        let out = Arc::new(Mutex::new(Vec::new()));
        let settings = LogSettings { directives: directives.to_owned(), json };
        let sink = Arc::clone(&out);
        let writer = move || Sink(Arc::clone(&sink));
        let subscriber = subscriber(&settings, writer, false).expect("the directives are fine");
        tracing::subscriber::with_default(subscriber, emit);
        String::from_utf8(out.lock().expect("not poisoned").clone()).expect("the log is UTF-8")
    }

    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn json_lines_are_flat_and_the_level_filters() {
        let text = logged("warn", true, || {
            tracing::info!("hidden");
            tracing::warn!(service = "default/a", "down");
        });
        let line: serde_json::Value = serde_json::from_str(&text).expect("one JSON object");
        assert_eq!(line["message"], "down");
        assert_eq!(line["service"], "default/a");
        assert_eq!(line["level"], "WARN");
    }

    #[test]
    fn text_lines_have_no_escape_codes_without_a_terminal() {
        let text = logged("info", false, || tracing::info!(service = "default/a", "up"));
        assert!(text.contains(" INFO ") && text.contains("up service=\"default/a\""), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn a_line_names_its_target_and_not_the_file_within() {
        let emit = || tracing::debug!(target: "portolan::prober::guard::sample", "a \"quoted\" word");
        let text = logged("portolan::prober=debug", false, emit);
        assert!(text.ends_with("Z DEBUG portolan::prober: a \"quoted\" word\n"), "{text}");
        let line: serde_json::Value =
            serde_json::from_str(&logged("portolan::prober=debug", true, emit)).expect("one JSON object");
        assert_eq!((&line["target"], &line["message"]), (&"portolan::prober".into(), &"a \"quoted\" word".into()));
    }

    #[test]
    fn access_lines_follow_the_level_and_their_own_directive() {
        for (directives, shown) in [("info", true), ("warn", false), ("info,portolan::access=off", false)] {
            let settings = LogSettings { directives: directives.to_owned(), json: false };
            let subscriber = subscriber(&settings, io::sink, false).expect("the directives are fine");
            assert_eq!(tracing::subscriber::with_default(subscriber, shows_access), shown, "{directives}");
        }
    }
}
