//! The options as given ([`Args`]) and after the checks ([`Config`]).
//!
//! To add a setting, add a field with `#[arg(long, env = "GUARD_SERVER_NAME")]` and a doc comment.
//! The configuration file, `check-config` and the errors follow from it, and so does the table in
//! `docs/server-configuration.md`: `GUARD_UPDATE_DOCS=1 cargo test -p guard-server --lib settings`
//! writes it. Mark a secret with `hide_env_values = true`, and use [`Secret`] for it.

mod limits;
mod mail;
mod stores;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use guard_wire::encrypt::{Encryptor, KeyError as EncryptionKeyError};
use thiserror::Error;

pub use self::limits::LimitArgs;
pub use self::mail::{MailError, OutboundArgs};
pub(super) use self::stores::sqlite_file;
pub use self::stores::{StoreArgs, StoreArgsError};
use crate::cli::alerts_command::{AlertsArgs, ChannelsCommand};
use crate::cli::doctor::DoctorArgs;
use crate::cli::explore::{ExportArgs, QueryArgs, SeriesArgs, TailArgs, TopArgs};
use crate::cli::migrate::MigrateArgs;
use crate::cli::people_command::{PeopleCommand, TokensCommand};
use crate::cli::projects_command::{KeysArgs, ProjectsCommand};
use crate::cli::rules_command::RulesArgs;
use crate::http::connections::ConnectionLimits;
use crate::http::connections::tls::TlsFiles;
use crate::http::{InvalidUrl, Limits, PublicUrl, TrustedProxies};
use crate::network::InvalidNetwork;
use crate::outbound::{MailServer, Reach};
use crate::people::SessionLimits;
use crate::people::token::{self, TokenError};
use crate::projects::ProjectSettings;
use crate::projects::key::{self, KeyError};
use crate::secret::Secret;
use crate::store::Location;

/// Default of `--listen`: reachable from this machine only.
const LISTEN: &str = "127.0.0.1:8400";
/// The Guard backend: receives events and metrics from guard agents and stores them.
///
/// Without options it listens on 127.0.0.1:8400 and keeps its data in ./guard-data. The first start
/// creates the project `default` and prints its API key once.
#[derive(Debug, Parser)]
#[command(name = "guard-server", version)]
pub struct Args {
    /// A TOML file with settings, each named as its flag: `listen = "0.0.0.0:8400"`. A flag wins
    /// over the environment, and the environment over the file.
    #[arg(long, env = "GUARD_SERVER_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Address and port to listen on; port 0 picks a free one.
    #[arg(
        long,
        env = "GUARD_SERVER_LISTEN",
        default_value = LISTEN,
        value_name = "ADDRESS:PORT"
    )]
    pub listen: String,

    /// Where everything is stored.
    #[command(flatten)]
    pub stores: StoreArgs,

    /// API key of the project `default`, at least 10 visible ASCII characters; replaces the one of an
    /// earlier start. Other keys stay. Prefer the environment variable: others can see the command line.
    #[arg(
        long,
        env = "GUARD_SERVER_API_KEY",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_name = "KEY"
    )]
    pub api_key: Option<Secret>,

    /// An admin token for scripts, `gt_` and at least 13 more visible ASCII characters; stored as the
    /// token `admin-token`, in place of the one before. Prefer the environment variable: others can
    /// see the command line.
    #[arg(
        long,
        env = "GUARD_SERVER_ADMIN_TOKEN",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_name = "TOKEN"
    )]
    pub admin_token: Option<Secret>,

    /// Key for encrypted payloads of the project `default`, 32 bytes as URL-safe base64; stored. An
    /// empty value removes the stored key.
    #[arg(
        long,
        env = "GUARD_SERVER_ENCRYPTION_KEY",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_name = "KEY"
    )]
    pub encryption_key: Option<Secret>,

    /// Signing secret of the project `default`; stored. Requests must then be signed with it, and
    /// the server signs the rules. An empty value removes the stored secret.
    #[arg(
        long,
        env = "GUARD_SERVER_SIGNING_SECRET",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_name = "SECRET"
    )]
    pub signing_secret: Option<Secret>,

    /// Address or CIDR block of a proxy in front of the server; repeatable, or a list with commas.
    /// Only such a proxy's X-Forwarded-For, X-Forwarded-Proto and Forwarded are believed.
    #[arg(
        long,
        env = "GUARD_SERVER_TRUSTED_PROXY",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    pub trusted_proxy: Vec<String>,

    /// The URL under which clients reach the server, such as `https://example.com/guard`. Its path is
    /// the base path of links, redirects and cookies; requests may come with it or without it.
    #[arg(long, env = "GUARD_SERVER_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,

    /// Address and port at which /metrics is served for Prometheus, over plain HTTP and without a key.
    /// Let only the scraper reach it.
    #[arg(long, env = "GUARD_SERVER_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<String>,

    /// The certificate for TLS with its chain, a PEM file. The server then speaks HTTPS only. It reads
    /// the files again on SIGHUP and when they change.
    #[arg(long, env = "GUARD_SERVER_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert, a PEM file.
    #[arg(long, env = "GUARD_SERVER_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Limits on what the server accepts.
    #[command(flatten)]
    pub limits: LimitArgs,

    /// Types of events that are counted by name; later types are counted together, as `other`.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_EVENT_TYPES",
        default_value_t = Limits::default().types,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_event_types: u32,

    /// Installs whose last status is kept, and agent processes whose rules are tracked. Beyond
    /// this, a new one is ignored until one of the others has been silent for an hour.
    #[arg(
        long,
        env = "GUARD_SERVER_MAX_INSTALLS",
        default_value_t = Limits::default().installs,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_installs: u32,

    /// Hours after which a session without requests ends.
    #[arg(
        long,
        env = "GUARD_SERVER_SESSION_IDLE_HOURS",
        default_value_t = 12,
        value_name = "HOURS",
        value_parser = clap::value_parser!(u32).range(1..=8760)
    )]
    pub session_idle_hours: u32,

    /// Hours after a sign-in at which the session ends, however much it is used.
    #[arg(
        long,
        env = "GUARD_SERVER_SESSION_HOURS",
        default_value_t = 336,
        value_name = "HOURS",
        value_parser = clap::value_parser!(u32).range(1..=8760)
    )]
    pub session_hours: u32,

    /// Days for which the audit log keeps its entries.
    #[arg(
        long,
        env = "GUARD_SERVER_AUDIT_DAYS",
        default_value_t = 400,
        value_name = "DAYS",
        value_parser = clap::value_parser!(u32).range(1..=36_500)
    )]
    pub audit_days: u32,

    /// Bytes of the disk that stay free. Before that the oldest records give way to new ones; then
    /// records get a 503. The default is 1 GiB, or a twentieth of a smaller disk.
    #[arg(long, env = "GUARD_SERVER_RESERVE", value_name = "BYTES")]
    pub reserve: Option<u64>,

    /// How alerts leave the server.
    #[command(flatten)]
    pub outbound: OutboundArgs,

    /// How the log is written to the standard error: lines of text, or one JSON object a line.
    #[arg(
        long,
        env = "GUARD_SERVER_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,

    /// A command to run instead of the server.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line, for log collectors.
    Json,
}

/// Commands other than serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the settings, and print each one in force with its source. Secrets are masked
    CheckConfig,
    /// Copy the database to a new file, while the server runs, and check the copy
    Backup {
        /// The new file
        file: PathBuf,
    },
    /// Check a backup, and put it in the place of the database. No server may be running
    Restore {
        /// A file that `guard-server backup` made
        file: PathBuf,
        /// Replace a database that is there; it is kept under another name
        #[arg(long)]
        replace: bool,
    },
    /// Move a database of SQLite to PostgreSQL and ClickHouse, for several servers
    ///
    /// It can be stopped and run again. The file is not changed.
    Migrate(MigrateArgs),
    /// Check the disk, the database, the permissions, the clock, the certificate and the way to it
    ///
    /// Give it the same settings as the server. The exit code is 1 if a check fails.
    Doctor(DoctorArgs),
    /// Add, change and remove people, and make the links with which they choose a password
    #[command(subcommand)]
    People(PeopleCommand),
    /// Make, list and revoke the tokens of programs
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Show or change the rules that agents get
    Rules(RulesArgs),
    /// Show, create, change or remove projects
    #[command(subcommand)]
    Projects(ProjectsCommand),
    /// List, create or revoke API keys
    Keys(KeysArgs),
    /// Show and change alerts
    Alerts(AlertsArgs),
    /// Show and change the channels that deliver alerts
    #[command(subcommand)]
    Channels(ChannelsCommand),
    /// List events of a running server, newest first
    Query(Box<QueryArgs>),
    /// Show the most frequent values of a field, or the largest values of a metric
    Top(Box<TopArgs>),
    /// Draw a chart of events, or of a metric, over time
    Series(Box<SeriesArgs>),
    /// Save all events that match
    Export(Box<ExportArgs>),
    /// Print events as they arrive
    Tail(Box<TailArgs>),
}

/// The checked configuration of a server.
#[derive(Debug)]
pub struct Config {
    /// The address to listen on.
    pub listen: String,
    /// The address to serve the metrics at.
    pub metrics_listen: Option<String>,
    /// Where everything is stored.
    pub stores: Location,
    /// Limits on what the server accepts and keeps.
    pub limits: Limits,
    /// Limits on connections.
    pub connections: ConnectionLimits,
    /// The certificate, if the server speaks HTTPS.
    pub tls: Option<TlsFiles>,
    /// The proxies whose forwarding headers are believed.
    pub proxies: TrustedProxies,
    /// The URL under which clients reach the server.
    pub public_url: Option<PublicUrl>,
    /// The admin token to install.
    pub admin_token: Option<Secret>,
    /// How long sessions last.
    pub sessions: SessionLimits,
    /// How long the audit log keeps its entries.
    pub audit_kept: Duration,
    /// Which addresses webhooks may have.
    pub webhooks: Reach,
    /// The mail server.
    pub mail: Option<MailServer>,
    /// Settings of the project `default`.
    pub settings: ProjectSettings,
}

/// An invalid option.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// There is no place to store everything.
    #[error(transparent)]
    Stores(#[from] StoreArgsError),
    /// The memory budget is too small for bodies of the maximum size.
    #[error(
        "--max-body-memory is too small for --max-body-bytes and --max-decoded-bytes: give at least {needed}"
    )]
    BodyMemory {
        /// The smallest valid budget.
        needed: u32,
    },
    /// A certificate without its key, or a key without its certificate.
    #[error("--tls-cert and --tls-key belong together: give both or none")]
    TlsPair,
    /// A trusted proxy is no network.
    #[error("--trusted-proxy: {0}")]
    TrustedProxy(#[from] InvalidNetwork),
    /// The public URL cannot be used.
    #[error("--public-url: {0}")]
    PublicUrl(#[from] InvalidUrl),
    /// The mail server is not set up properly.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// The API key is not valid.
    #[error("--api-key: {0}")]
    ApiKey(#[from] KeyError),
    /// The admin token is not valid.
    #[error("--admin-token: {0}")]
    AdminToken(#[from] TokenError),
    /// The encryption key is not valid.
    #[error("--encryption-key: {0}")]
    EncryptionKey(#[from] EncryptionKeyError),
}

impl Args {
    /// Checks the options of a server.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first invalid option.
    pub fn check(self) -> Result<Config, ConfigError> {
        let stores = self.stores.location()?;
        self.limits.check()?;
        if let Some(key) = &self.api_key {
            key::check_key(key)?;
        }
        if let Some(token) = &self.admin_token {
            token::check_token(token)?;
        }
        if let Some(key) = &self.encryption_key
            && !key.expose().is_empty()
        {
            Encryptor::new(key.expose())?;
        }
        let tls = match (self.tls_cert, self.tls_key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            _ => return Err(ConfigError::TlsPair),
        };
        let proxies = TrustedProxies::parse(&self.trusted_proxy)?;
        let public_url = self.public_url.as_deref().map(str::parse).transpose()?;
        let (webhooks, mail) = (self.outbound.reach(), self.outbound.mail_server()?);
        Ok(Config {
            listen: self.listen,
            metrics_listen: self.metrics_listen,
            stores,
            limits: Limits {
                types: self.max_event_types,
                installs: self.max_installs,
                reserve: self.reserve,
                ..self.limits.of_bodies()
            },
            connections: ConnectionLimits {
                proxies: proxies.clone(),
                ..self.limits.of_connections()
            },
            tls,
            proxies,
            public_url,
            admin_token: self.admin_token,
            audit_kept: hours(self.audit_days * 24),
            sessions: SessionLimits {
                idle: hours(self.session_idle_hours),
                total: hours(self.session_hours),
            },
            webhooks,
            mail,
            settings: ProjectSettings {
                key: self.api_key.map(|key| key::KeyHash::of(key.expose())),
                encryption_key: self.encryption_key,
                signing_secret: self.signing_secret,
            },
        })
    }
}

const fn hours(hours: u32) -> Duration {
    Duration::from_secs(hours as u64 * 3600)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    const ENCRYPTION_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn check(args: &[&str]) -> Result<Config, ConfigError> {
        let args = ["guard-server"].iter().chain(args);
        Args::try_parse_from(args).unwrap().check()
    }

    #[test]
    fn the_options_are_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn errors_about_bad_keys_name_the_option_and_hide_the_key() {
        for (option, value) in [
            ("--api-key", "hush"),
            ("--api-key", "hush hush hush"),
            ("--admin-token", "hush"),
            ("--admin-token", "gt_hush hush hush hush"),
            ("--encryption-key", "hush"),
        ] {
            let text = check(&[option, value]).unwrap_err().to_string();
            assert!(text.starts_with(option), "{text}");
            assert!(!text.contains("hush"), "{text}");
        }
        assert!(check(&["--encryption-key", ENCRYPTION_KEY]).is_ok());
        assert!(check(&["--encryption-key", ""]).is_ok());
    }

    #[test]
    fn proxies_and_the_public_url_are_checked_and_named() {
        let proxies = [
            "--trusted-proxy",
            "10.0.0.0/8,::1",
            "--trusted-proxy",
            "192.0.2.7",
        ];
        assert!(check(&proxies).is_ok());
        for (option, value) in [
            ("--trusted-proxy", "proxy.internal"),
            ("--trusted-proxy", "10.0.0.0/33"),
            ("--public-url", "guard.example"),
        ] {
            let text = check(&[option, value]).unwrap_err().to_string();
            assert!(text.starts_with(option) && text.contains(value), "{text}");
        }
    }

    #[test]
    fn the_body_memory_must_hold_several_of_the_largest_bodies() {
        let sized = |memory| {
            check(&[
                "--max-body-bytes",
                "1048576",
                "--max-decoded-bytes",
                "2097152",
                "--max-body-memory",
                memory,
            ])
        };
        assert!(sized("8388608").is_ok());
        let text = sized("8388607").unwrap_err().to_string();
        assert!(
            text.contains("--max-body-memory") && text.contains("8388608"),
            "{text}"
        );
    }

    #[test]
    fn the_default_options_equal_the_library_defaults() {
        let config = check(&[]).unwrap();
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.sessions, SessionLimits::default());
        assert_eq!(config.connections, ConnectionLimits::default());
    }

    #[test]
    fn secrets_may_begin_with_a_hyphen() {
        let key = format!("-{}", &ENCRYPTION_KEY[1..]);
        for (option, value) in [
            ("--api-key", "-hush-hush-hush"),
            ("--encryption-key", &key),
            ("--signing-secret", "--hush"),
        ] {
            assert!(check(&[option, value]).is_ok(), "{option}");
        }
    }

    #[test]
    fn secrets_are_not_shown_by_debug() {
        let args = ["guard-server", "--api-key", "hush-hush-hush"];
        let args = Args::try_parse_from(args).unwrap();
        assert!(!format!("{args:?}").contains("hush"));
    }
}
