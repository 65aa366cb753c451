//! `portolan import`: the services of the legacy gateway, or of another store, in one transaction.
//!
//! In: a file. Out: a report of every row that does not fit, and a store that holds all of the others or is as it was. In reading order:
//!
//! - this file: flags, the commit, and what is said afterwards
//! - [`source`]: what a file is; [`gateway`] and [`lines`]: its rows as register calls; [`names`]: labels for the gateway's names
//! - [`judge`]: the rules of a register call; [`rows`] and [`report`]: what became of each row

mod gateway;
mod judge;
mod lines;
mod names;
mod report;
mod rows;
mod source;

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::OutputArg;
use super::exit::{Exit, Failure};
use super::output::Streams;
use super::output::progress::{Progress, counted, grouped};
use super::plugin::program;
use crate::app::{address_policy, store_settings};
use crate::config::{Mode, ServeArgs, Settings};
use crate::model::name::Namespace;
use crate::model::service::Owner;
use crate::model::time::UnixMs;
use crate::store::OpenError;
use crate::store::import::{self, Effect, Entered, Import, ImportOptions, Plan, Planned, RowError, Totals};
use crate::telemetry::audit::{self, AuditLog, Kind, Record, Who};
use judge::{Accepted, Rules};
use report::Report;
use rows::{Fate, Note, shown};

/// Flags of `import`.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The legacy gateway's SQLite file, or the lines of `portolan export`; - reads lines from stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The store's file, which no server may have open; created if absent. DB_PATH unless given, else ./services.db
    #[arg(long, value_name = "PATH")]
    db: Option<PathBuf>,
    /// Report what would happen and write nothing; works while a server runs, too
    #[arg(long)]
    dry_run: bool,
    /// Leave out rows that do not fit and import the others; without this, one such row prevents the whole import
    #[arg(long)]
    skip: bool,
    /// Replace instances that are registered with other content
    #[arg(long)]
    replace: bool,
    /// Namespace of rows that name none; PORTOLAN_DEFAULT_NAMESPACE unless given
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<Namespace>,
    /// Subject of the token that owns new instances whose row names no owner; nobody unless given
    #[arg(long, value_name = "SUBJECT")]
    owner: Option<String>,
    /// That token's issuer, if it has one
    #[arg(long, value_name = "ISSUER", requires = "owner")]
    issuer: Option<String>,
    #[command(flatten)]
    output: OutputArg,
}

/// Runs it.
///
/// # Errors
/// Rows that do not fit are usage errors, unless they are left out; a file in use is a refusal.
pub(super) fn run(args: &ImportArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let settings = settings(args)?;
    refuse_itself(&args.file, &settings.db_path)?;
    let source = source::read(&args.file)?;
    if let Some(note) = &source.note {
        streams.note(note);
    }
    let accepted = accept(source.rows, args, &settings);
    let options = ImportOptions { replace: args.replace, interval: settings.health_check_interval };
    let (rows, places, mut report) = accepted.in_order();
    let all = rows.len();
    let mut progress = Progress::begin();
    let judging = |done| progress.show(|| format!("judging {} of {}", grouped(done), counted(all, "row")));
    let (planned, plan) = if args.dry_run {
        let planned = import::preview(&settings.db_path, rows, options, judging);
        (planned.map_err(|error| Failure::new(Exit::Unreachable, error.to_string()))?, None)
    } else {
        let file = Import::lock(store_settings(&settings)).map_err(|error| in_use(&error))?;
        say_quarantine(&file, streams);
        let (planned, plan) = file.plan(rows, options, judging);
        (planned, Some(plan))
    };
    drop(progress);
    apply(&planned, &places, &mut report);
    let (from, to) = (source::called(&args.file), shown(&settings.db_path.to_string_lossy()));
    let mut report = Report::of(source.kind, from, to, report);
    (report.dry_run, report.skip) = (args.dry_run, args.skip);
    let fits = report.refused == 0 || args.skip;
    if let Some(plan) = plan {
        if fits {
            commit(plan, &settings)?;
            report.imported = true;
            leave_a_line(&settings, &report, streams);
        } else {
            plan.abandon();
        }
    }
    let (refused, changes) = (report.refused, report.added > 0);
    report.print(args.output.output, streams)?;
    // Before what stderr says about it.
    streams.flush()?;
    if changes && fits {
        say_limits(&settings, planned.totals, streams);
    }
    if fits { Ok(Exit::Ok) } else { Err(unfit(refused, args.dry_run)) }
}

/// Leaves a line where the server's audit log is: an import is a write, too.
fn leave_a_line(settings: &Settings, report: &Report, streams: &mut Streams) {
    let Some(path) = &settings.audit_file else { return };
    let note = format!("from {}: {} added, {} changed", report.from, report.added, report.changed);
    let user = rustix::process::getuid().as_raw().to_string();
    let record = Record {
        request_id: &AuditLog::without_file().request_id(),
        client_request_id: None,
        who: Who { kind: Kind::Local, issuer: "", subject: &user },
        client: None,
        peer: None,
        action: "import",
        namespace: "",
        service: "",
        id: None,
        instance: "",
        generation: None,
        revision: None,
        note: &note,
        status: 0,
        code: None,
        passed_on: false,
    };
    if let Err(error) = audit::append(path, &record) {
        streams
            .note(&format!("the audit file {} has no line about this import: {error}", shown(&path.to_string_lossy())));
    }
}

/// The settings of the server that will serve the store.
fn settings(args: &ImportArgs) -> Result<Settings, Failure> {
    let flags = ServeArgs {
        db_path: args.db.clone().map(PathBuf::into_os_string),
        default_namespace: args.namespace.as_ref().map(|name| name.as_str().into()),
        ..ServeArgs::default()
    };
    let settings = Settings::from_process(&flags).map_err(|error| {
        Failure::usage(error.to_string())
            .hint("an import follows the settings of the server: give it the same environment")
    })?;
    if matches!(settings.mode, Mode::Cluster(_)) {
        return Err(Failure::usage("in cluster mode the Kubernetes API holds the services, so there is no file to import into")
            .hint(format!("register each line of an export: while read -r line; do printf '%s\\n' \"$line\" | {} register -f -; done < services.jsonl", program())));
    }
    Ok(settings)
}

/// Both programs call their file ./services.db by default.
fn refuse_itself(file: &Path, db: &Path) -> Result<(), Failure> {
    let same = std::fs::canonicalize(file).is_ok_and(|file| std::fs::canonicalize(db).is_ok_and(|db| db == file));
    if !same {
        return Ok(());
    }
    let file = shown(&file.to_string_lossy());
    Err(Failure::usage(format!(
        "{file} is also the store's file, which is DB_PATH or ./services.db unless --db names another"
    ))
    .hint(format!("{0} import {file} --db portolan.db, then: DB_PATH=portolan.db {0} serve", program())))
}

fn accept(rows: Vec<rows::Candidate>, args: &ImportArgs, settings: &Settings) -> Accepted {
    let owner = args.owner.as_deref().map_or(Owner::Anonymous, |subject| Owner::Token {
        issuer: args.issuer.as_deref().unwrap_or_default().into(),
        subject: subject.into(),
    });
    let namespace = settings.default_namespace.clone().unwrap_or_default();
    let addresses = address_policy(settings);
    let rules = Rules { namespace: &namespace, addresses: &addresses, owner: &owner, now: UnixMs::wall() };
    let mut accepted = Accepted::default();
    let (all, mut progress) = (rows.len(), Progress::begin());
    for (done, row) in rows.into_iter().enumerate() {
        accepted.add(row, &rules);
        progress.show(|| format!("reading {} of {}", grouped(done), counted(all, "row")));
    }
    accepted
}

/// Enters what the store makes of each row.
fn apply(planned: &Planned, places: &[usize], report: &mut [rows::Judged]) {
    for (effect, place) in planned.effects.iter().zip(places) {
        let Some(row) = report.get_mut(*place) else { continue };
        if let Ok(Entered { instance, .. }) = effect {
            row.instance = Some(instance.to_string());
        }
        row.result = match effect {
            Ok(Entered { effect: Effect::Added, .. }) => Fate::Added,
            Ok(Entered { effect: Effect::Changed, .. }) => Fate::Changed,
            Ok(Entered { effect: Effect::Unchanged, .. }) => Fate::Unchanged,
            Err(error) => {
                row.notes.push(refusal(error));
                Fate::Refused
            }
        };
    }
}

fn refusal(error: &RowError) -> Note {
    let field = match error {
        RowError::Differs => "instance",
        RowError::Refused(_) => "service",
    };
    Note::new(field, error.to_string())
}

fn commit(plan: Plan, settings: &Settings) -> Result<(), Failure> {
    let mut progress = Progress::begin();
    let db = shown(&settings.db_path.to_string_lossy());
    let shown_db = db.clone();
    let writing = move |done, all| {
        progress.show(|| format!("writing {shown_db}: {} of {}", grouped(done), counted(all, "change")));
    };
    plan.commit(writing)
        .map_err(|error| Failure::new(Exit::Unreachable, format!("nothing was imported into {db}: {error}")))
}

fn in_use(error: &OpenError) -> Failure {
    let exit = if matches!(error, OpenError::InUse { .. }) { Exit::Refused } else { Exit::Unreachable };
    let failure = Failure::new(exit, error.to_string());
    match exit {
        Exit::Refused => failure
            .hint("an import is one transaction on the file itself, so stop its server first; --dry-run works while it runs")
            .hint(format!("a running server takes the lines of an export one by one, with `{} register -f -`", program())),
        _ => failure,
    }
}

fn unfit(refused: usize, dry_run: bool) -> Failure {
    let would = if dry_run { "would be" } else { "was" };
    Failure::usage(format!(
        "{} not fit, so nothing {would} imported",
        if refused == 1 { "1 row does".to_owned() } else { format!("{} rows do", grouped(refused)) }
    ))
    .hint("correct them in the file, or leave them out with --skip; -o json lists them, with suggested values where there are any")
}

fn say_quarantine(file: &Import, streams: &mut Streams) {
    let rows = file.quarantined();
    if rows > 0 {
        streams.note(&format!("{rows} rows of the store could not be read; `{} quarantine` prints them", program()));
    }
}

/// An import goes beyond what clients may register; the next client would hit the bound.
fn say_limits(settings: &Settings, totals: Totals, streams: &mut Streams) {
    let Totals { services, instances } = totals;
    if let Some(most) = settings.max_services.filter(|most| services >= *most as usize) {
        let services = grouped(services);
        streams.note(&format!(
            "note: the store holds {services} services, and MAX_SERVICES is {most}: all of them are served, but no further one can be \
             registered; set MAX_SERVICES for the server to more, or to 0 for no limit"
        ));
    }
    if instances >= settings.max_instances as usize {
        let (instances, most) = (grouped(instances), grouped(settings.max_instances as usize));
        streams.note(&format!(
            "note: the store holds {instances} instances, and PORTOLAN_MAX_INSTANCES is {most}: all of them are served, but no further one \
             can be registered; set PORTOLAN_MAX_INSTANCES for the server to more"
        ));
    }
}
