//! Opens the store of a server. If that takes long, because an older database is converted, the
//! server answers meanwhile that it is alive, and not ready yet.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::cli::config::Config;
use crate::cli::serve::{ServeError, listen};
use crate::http::connections::serve_with;
use crate::http::connections::tls::Tls;
use crate::http::starting;
use crate::monitoring::ConnectionMeters;
use crate::store::{Progress, Stores, StoresError};

/// A store that opens faster than this needs no answers meanwhile.
const SOON: Duration = Duration::from_millis(500);

/// The stores of a server, and where it listens.
pub(super) struct Opened {
    pub(super) stores: Stores,
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
}

/// Opens the store and listens. Returns `None` if `shutdown` completes first: what is half done then
/// is done by the next start.
///
/// # Errors
///
/// [`ServeError`] if the store cannot be opened, or the address cannot be used.
pub(super) async fn open(
    config: &Config,
    tls: Option<Arc<Tls>>,
    shutdown: &mut (impl Future<Output = ()> + Unpin),
) -> Result<Option<Opened>, ServeError> {
    let progress = Progress::default();
    let mut opening = Box::pin(in_thread(config, progress.clone()));
    let stores = tokio::select! {
        stores = &mut opening => stores?,
        () = &mut *shutdown => return Ok(None),
        () = tokio::time::sleep(SOON) => {
            let (listener, address) = listen("--listen", &config.listen).await?;
            tracing::info!(%address, "opening the database takes long; /ready says how far it is");
            let failed = |source| ServeError::Listen {
                option: "--listen",
                listen: config.listen.clone(),
                source,
            };
            let (listener, again) = twice(listener).map_err(failed)?;
            let app = starting::router(progress, config.public_url.as_ref());
            let (stop, stopping) = oneshot::channel::<()>();
            let answering = serve_with(
                listener,
                tls,
                ConnectionMeters::default(),
                app,
                config.connections.clone(),
                async { drop(stopping.await) },
            );
            let opened = async {
                let stores = tokio::select! {
                    stores = &mut opening => Some(stores),
                    () = &mut *shutdown => None,
                };
                drop(stop);
                stores
            };
            let ((), stores) = tokio::join!(answering, opened);
            let Some(stores) = stores else { return Ok(None) };
            return Ok(Some(Opened { stores: stores?, listener: again, address }));
        }
    };
    let (listener, address) = listen("--listen", &config.listen).await?;
    Ok(Some(Opened {
        stores,
        listener,
        address,
    }))
}

/// Opens the store in a thread that the end of the process does not wait for.
async fn in_thread(config: &Config, progress: Progress) -> Result<Stores, ServeError> {
    let (done, opened) = oneshot::channel::<Result<Stores, StoresError>>();
    let (stores, runtime) = (config.stores.clone(), Handle::current());
    let open = move || {
        // The receiver is gone if the server stops.
        let _ = done.send(runtime.block_on(stores.open(&progress)));
    };
    std::thread::Builder::new()
        .name("store-opener".to_owned())
        .spawn(open)
        .map_err(ServeError::Thread)?;
    let ended = |_| ServeError::Thread(io::Error::other("the thread ended"));
    Ok(opened.await.map_err(ended)??)
}

/// Two handles of one listener.
fn twice(listener: TcpListener) -> io::Result<(TcpListener, TcpListener)> {
    let listener = listener.into_std()?;
    let again = listener.try_clone()?;
    Ok((
        TcpListener::from_std(listener)?,
        TcpListener::from_std(again)?,
    ))
}
