//! Starts a server from a configuration, and shuts it down in order.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::accounts::{self, PeopleError};
use crate::alerts::channels::Channels;
use crate::cli::config::Config;
use crate::cli::opening::{self, Opened};
use crate::http::connections::tls::{Tls, TlsError};
use crate::http::connections::{self, ConnectionLimits};
use crate::http::metrics_router;
use crate::people::token::INSTALLED_TOKEN;
use crate::people::{Actor, AuditEntry, Change, CredentialHash, Role, Scope, Token};
use crate::projects::ProjectSettings;
use crate::projects::key::{self, KeyHash, NoRandomness};
use crate::secret::Secret;
use crate::store::{
    AddOutcome, Location, Lock, LockError, Projects, StoreError, Stores, StoresError,
};
use crate::{AppState, DEFAULT_PROJECT, PublicUrl, maintenance, router};

/// How long requests in flight may take after the shutdown began.
const GRACE: Duration = Duration::from_secs(10);
/// Connections at `--metrics-listen`.
const SCRAPERS: usize = 16;
/// How often the server looks whether the files of the certificate changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why the server did not start, or stopped.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Another server uses the database, or the lock file cannot be written.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The stores cannot be opened.
    #[error(transparent)]
    Open(#[from] StoresError),
    /// The address is in use or does not belong to this machine.
    #[error("cannot listen on {listen}: {source}; choose another with {option}")]
    Listen {
        /// The option that names the address.
        option: &'static str,
        /// The address.
        listen: String,
        /// The system's error.
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The project, or the admin token, could not be stored.
    #[error("cannot store the project {DEFAULT_PROJECT} or the admin token: {0}")]
    Project(#[from] StoreError),
    /// No link for the first admin could be made.
    #[error("cannot make the link for the first admin: {0}")]
    Link(#[from] PeopleError),
    /// The API key belongs to another project.
    #[error(
        "--api-key: this key belongs to another project; give another one, or revoke it there with \
         guard-server keys"
    )]
    ForeignKey,
    /// No API key could be generated for it.
    #[error(transparent)]
    Key(#[from] NoRandomness),
    /// The thread that opens the store cannot be started, or panicked.
    #[error("cannot open the database: {0}")]
    Thread(io::Error),
    /// The server cannot listen for SIGHUP.
    #[error("cannot listen for SIGHUP: {0}")]
    Signal(io::Error),
    /// The start message cannot be written.
    #[error("cannot write to the standard output: {0}")]
    Announce(#[from] io::Error),
}

/// Serves until `shutdown` completes, then finishes the requests in flight. Writes its address to
/// `out` and, on the first start, the API key.
///
/// # Errors
///
/// [`ServeError`] if it cannot start.
pub async fn run(
    config: Config,
    out: &mut impl Write,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    connections::raise_file_limit();
    let tls = config.tls.clone().map(Tls::load).transpose()?;
    let tls = tls.map(Arc::new);
    // Before the start message: without a handler, SIGHUP would end the process.
    let reloading = reload_on_change(tls.clone()).map_err(ServeError::Signal)?;
    // Held until the store is closed. The store closes before this is dropped.
    let _lock = match &config.stores {
        Location::File(path) => Some(Lock::take(path)?),
        Location::Shared(_) => None,
    };
    let mut shutdown = Box::pin(shutdown);
    let opened = opening::open(&config, tls.clone(), &mut shutdown).await?;
    let Some(Opened {
        stores,
        listener,
        address,
    }) = opened
    else {
        return Ok(());
    };
    let metrics = match &config.metrics_listen {
        Some(at) => Some(listen("--metrics-listen", at).await?),
        None => None,
    };
    let new_key = apply_project_settings(&*stores.projects, config.settings).await?;
    if let Some(token) = &config.admin_token {
        install_admin_token(&stores, token).await?;
    }
    let link = accounts::make_first_link(&stores, Timestamp::now()).await?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let origin = format!("{scheme}://{address}");
    announce(
        out,
        &origin,
        config.public_url.as_ref(),
        new_key.as_ref(),
        link.as_ref(),
    )?;
    tracing::info!(stores = %config.stores, "records and rules are stored here");

    if tls.is_none() && !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "listening without TLS beyond this machine: keys and data cross the network in plain \
             text; give --tls-cert and --tls-key, or let only a proxy with TLS reach this address"
        );
    }

    let public = config.public_url.as_ref();
    let dashboard = public.map_or(origin, |url| url.link(""));
    let state = Arc::new(
        AppState::new(stores, config.limits)
            .with_dashboard(dashboard)
            .with_sender(Arc::new(Channels::new(config.webhooks, config.mail)))
            .with_proxies(config.proxies)
            .with_public_url(config.public_url)
            .with_sessions(config.sessions)
            .with_audit_kept_for(config.audit_kept)
            .with_certificate(tls.as_ref().map(|tls| tls.meter())),
    );
    let app = router(Arc::clone(&state));
    let (stop, stopping) = oneshot::channel();
    let shutdown = async {
        shutdown.await;
        tracing::info!("stopping");
        state.stop_waiting();
        // The receiver is gone only if serving has ended already.
        let _ = stop.send(());
    };
    let measuring = serve_metrics(metrics, Arc::clone(&state), config.connections.clone());
    let meters = state.connection_meters();
    let serving = connections::serve_with(listener, tls, meters, app, config.connections, shutdown);
    let overdue = async {
        let _ = stopping.await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = serving => {}
        () = maintenance::run(&state) => {}
        () = reloading => {}
        () = measuring => {}
        () = overdue => tracing::warn!("requests still in flight after {GRACE:?} were cut off"),
    }
    state.save_check_ins().await;
    state.save_activity().await;
    Ok(())
}

/// Reads the certificate again on SIGHUP and when its files change. Without TLS, SIGHUP does nothing.
/// Never completes.
fn reload_on_change(tls: Option<Arc<Tls>>) -> io::Result<impl Future<Output = ()>> {
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            let is_asked = tokio::select! {
                _ = hang_up.recv() => true,
                _ = ticks.tick() => false,
            };
            let Some(tls) = tls.as_ref().filter(|tls| is_asked || tls.has_changed()) else {
                continue;
            };
            match tls.reload() {
                Ok(()) => tracing::info!("the certificate was read again"),
                Err(error) => tracing::error!(
                    %error,
                    "the certificate cannot be read again; the one in use stays"
                ),
            }
        }
    })
}

/// Listens on `at`, which `option` names. Returns the real address too.
pub(super) async fn listen(
    option: &'static str,
    at: &str,
) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen {
        option,
        listen: at.to_owned(),
        source,
    };
    let listener = TcpListener::bind(at).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Serves the metrics to a few scrapers. Never completes.
async fn serve_metrics(
    metrics: Option<(TcpListener, SocketAddr)>,
    state: Arc<AppState>,
    limits: ConnectionLimits,
) {
    let never = std::future::pending();
    let Some((listener, address)) = metrics else {
        return never.await;
    };
    tracing::info!("metrics at http://{address}/metrics");
    let limits = ConnectionLimits {
        open: SCRAPERS,
        ..limits
    };
    connections::serve(listener, metrics_router(state), limits, never).await;
}

/// Applies the operator's settings. A new project gets a key, which is returned.
async fn apply_project_settings(
    projects: &dyn Projects,
    mut settings: ProjectSettings,
) -> Result<Option<Secret>, ServeError> {
    // Of several servers that start for the first time, one creates it.
    let is_new = settings.key.is_none() && {
        let created = projects.create_project(DEFAULT_PROJECT, Timestamp::now(), u32::MAX, None);
        created.await? == AddOutcome::Added
    };
    let new_key = is_new.then(key::new_key).transpose()?;
    if let Some(key) = &new_key {
        settings.key = Some(KeyHash::of(key.expose()));
    }
    if projects.save_project(DEFAULT_PROJECT, settings).await? == AddOutcome::Exists {
        return Err(ServeError::ForeignKey);
    }
    Ok(new_key)
}

/// Stores the operator's token, in place of the one before.
async fn install_admin_token(stores: &Stores, token: &Secret) -> Result<(), StoreError> {
    let (hash, now) = (CredentialHash::of(token.expose()), Timestamp::now());
    if let Some(stored) = stores.people.token(hash).await?
        && stored.id == INSTALLED_TOKEN
    {
        return Ok(());
    }
    let token = Token {
        id: INSTALLED_TOKEN.to_owned(),
        label: INSTALLED_TOKEN.to_owned(),
        role: Role::Admin,
        projects: Scope::All,
        created_at: now,
        created_by: Actor::CLI.who.to_string(),
        expires_at: None,
        last_used_at: None,
    };
    let change = Change {
        action: "token.add",
        object: INSTALLED_TOKEN.to_owned(),
        after: json!({ "role": token.role, "projects": token.projects }),
        ..Change::default()
    };
    let entry = AuditEntry::new(&Actor::CLI, change, now);
    stores.people.save_token(hash, token, Some(entry)).await
}

fn announce(
    out: &mut impl Write,
    origin: &str,
    public_url: Option<&PublicUrl>,
    new_key: Option<&Secret>,
    link: Option<&Secret>,
) -> io::Result<()> {
    let url = |path: &str| public_url.map_or_else(|| [origin, path].concat(), |url| url.link(path));
    let dashboard = url("/");
    let mut text = format!("guard-server listening on {origin}\ndashboard: {dashboard}\n");
    if let Some(key) = new_key {
        let key = key.expose();
        text.push_str(&format!(
            "API key of the project {DEFAULT_PROJECT}, shown only this once: {key}\n"
        ));
    }
    if let Some(link) = link {
        let link = url(&format!("/setup?token={}", link.expose()));
        text.push_str(&format!(
            "choose the name and password of the first admin, once: {link}\n"
        ));
    }
    // Written at once: a reader may stop after the first line.
    out.write_all(text.as_bytes())?;
    out.flush()
}
