//! The settings of `portolan serve`.
//!
//! In: flags and environment. Out: [`Settings`], checked once at the start, or every problem in one report. A flag wins over the
//! environment, and an empty variable counts as unset. Read the files in this order:
//!
//! 1. `settings`: every setting, declared once. The flags, their help and the README's table come from there.
//! 2. `settings/reader`: reads values and collects problems, with the parsers of `settings/parse`; `settings/cluster`: the mode; `settings/tls`: the
//!    files of TLS.
//! 3. `table`: the README's table; `unknown`: variables that nothing reads.

mod settings;
mod table;
#[cfg(test)]
mod tests;
mod unknown;

use std::net::SocketAddr;

pub use settings::{
    ClusterSettings, LogFormat, Mode, NotWatched, Problem, SETTINGS, Secrets, ServeArgs, Setting, Settings,
    SettingsError, TlsFiles,
};
pub use table::markdown_table;
pub use unknown::unknown_variables;

impl Settings {
    /// Where to listen.
    pub fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.bind_address, self.server_port)
    }

    /// Loads from the flags and from the process's environment.
    ///
    /// # Errors
    /// [`SettingsError`] with every bad value.
    pub fn from_process(args: &ServeArgs) -> Result<Self, SettingsError> {
        Self::load(args, |name| std::env::var_os(name))
    }
}
