//! What a start does to the schema, and what it says if it cannot.

use std::fs;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::Database;
use super::database::admin;
use crate::store::Progress;
use crate::store::postgres::open::check_version;
use crate::store::postgres::rows::column;
use crate::store::postgres::schema::VERSION;
use crate::store::postgres::{AdvisoryLock, OpenError, Postgres, Server};

const PASSWORD: &str = "open-sesame";

/// The line that an attempt to open says. It never has the password.
async fn refusal(database: &Database, url: &str) -> String {
    let error = database.try_open(url).await.unwrap_err();
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    assert!(!format!("{line} {error:?}").contains(PASSWORD), "{line}");
    line
}

/// Checks that the line has all of these parts.
fn has(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part:?} is missing in: {line}");
    }
}

#[tokio::test]
async fn an_empty_database_gets_the_schema_and_keeps_it() {
    let database = Database::empty().await;
    for _ in 0..2 {
        database.open().await;
        let steps = database.number("SELECT count(*) FROM schema_version").await;
        assert_eq!(steps, i64::from(VERSION));
    }
}

#[tokio::test]
async fn nodes_that_start_at_once_migrate_once() {
    let database = Database::empty().await;
    let (url, progress) = (database.url(), Progress::default());
    let open = || Postgres::open(&url, &progress);
    let (one, other, third) = tokio::join!(open(), open(), open());
    for opened in [one, other, third] {
        opened.unwrap();
    }
    let steps = database.number("SELECT count(*) FROM schema_version").await;
    assert_eq!(steps, i64::from(VERSION));
}

#[tokio::test]
async fn a_start_gives_up_on_the_lock_and_names_its_holder() {
    let database = Database::empty().await;
    let holder = database.client().await;
    holder
        .batch_execute("SET application_name = 'an old node'")
        .await
        .unwrap();
    let pid: i32 = holder
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let take = "SELECT pg_advisory_lock($1)";
    let key = AdvisoryLock::Migration.key();
    holder.execute(take, &[&key]).await.unwrap();
    let line = refusal(&database, &database.url()).await;
    has(&line, &[&format!("PID {pid}, an old node, from 127.0.0.1")]);

    // The start that gave up waits no more: it never gets the lock.
    holder
        .execute("SELECT pg_advisory_unlock($1)", &[&key])
        .await
        .unwrap();
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(database.number(held).await, 0);
    database.open().await;
    assert_eq!(database.number(held).await, 0);
}

#[tokio::test]
async fn the_lock_of_a_dead_node_does_not_matter_when_the_schema_is_of_today() {
    let database = Database::migrated().await;
    let holder = database.client().await;
    let key = AdvisoryLock::Migration.key();
    holder
        .execute("SELECT pg_advisory_lock($1)", &[&key])
        .await
        .unwrap();
    database.open().await;
}

#[tokio::test]
async fn a_step_that_fails_leaves_nothing_and_the_next_start_goes_on_from_there() {
    let database = Database::empty().await;
    database.run("CREATE TABLE tokens (own integer)").await;
    let line = refusal(&database, &database.url()).await;
    has(
        &line,
        &["belongs to another program", "\"tokens\"", "42P07"],
    );
    let found = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'
        AND table_name IN ('projects', 'people')";
    assert_eq!(
        database.number(found).await,
        1,
        "the first step stays, the second does not"
    );
    database.run("DROP TABLE tokens").await;
    database.open().await;
}

#[tokio::test]
async fn a_schema_of_a_newer_server_is_refused() {
    let database = Database::migrated().await;
    database
        .run("INSERT INTO schema_version (version) VALUES (99)")
        .await;
    let line = refusal(&database, &database.url()).await;
    has(&line, &["schema version 99", "use a newer guard-server"]);
}

#[tokio::test]
async fn a_user_without_rights_is_told_which() {
    let database = Database::empty().await;
    let user = format!("user_of_{}", database.name());
    database
        .run(&format!(
            "REVOKE CREATE ON SCHEMA public FROM public; CREATE USER {user} PASSWORD '{PASSWORD}'"
        ))
        .await;
    let url = database.url_with(&format!("{user}:{PASSWORD}"), "disable");
    let line = refusal(&database, &url).await;
    has(&line, &[&user, "schema public", "42501", "OWNER TO"]);
    let wrong = database.url_with(&format!("{user}:{PASSWORD}!"), "disable");
    let line = refusal(&database, &wrong).await;
    has(&line, &["refuses the user", &user, "28P01"]);
    admin()
        .await
        .batch_execute(&format!("DROP USER {user}"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_named_without_the_password() {
    let database = Database::empty().await;
    let url = database.url_with(&format!("guard:{PASSWORD}"), "disable");
    let missing = url.replace(database.name(), "nowhere");
    has(
        &refusal(&database, &missing).await,
        &["refuses", "\"nowhere\"", "3D000"],
    );
    let closed = format!("postgres://guard:{PASSWORD}@127.0.0.1:1/shop");
    let line = refusal(&database, &closed).await;
    has(
        &line,
        &["cannot reach PostgreSQL at 127.0.0.1:1/shop", "refused"],
    );

    let name = database.name();
    database
        .run(&format!(
            "ALTER DATABASE {name} SET default_transaction_read_only TO on"
        ))
        .await;
    has(&refusal(&database, &url).await, &["takes no writes", name]);
}

#[tokio::test]
async fn a_database_that_cannot_hold_all_text_is_refused() {
    let options = "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'";
    let database = Database::create(options).await;
    let line = refusal(&database, &database.url()).await;
    has(&line, &["SQL_ASCII", "UTF8"]);
}

#[test]
fn versions_before_13_are_refused() {
    let server = Server::of("postgres://guard@db/guard").unwrap();
    let line = check_version(&server, 120_019, "12.19")
        .unwrap_err()
        .to_string();
    has(&line, &["db:5432/guard", "version 12.19", "13 or later"]);
    check_version(&server, 130_000, "13.0").unwrap();
}

#[test]
fn a_url_that_cannot_be_read_is_not_repeated() {
    for url in [
        "",
        "open-sesame",
        "mysql://guard:open-sesame@db/guard",
        "postgres://guard:open-sesame@db:5432x/guard",
        "postgres://guard:open-sesame@db/guard?unknown=1",
        "postgres://guard:open-sesame@/guard",
    ] {
        let error = Server::of(url).unwrap_err();
        assert!(matches!(error, OpenError::Url), "{url}");
        has(
            &error.to_string(),
            &["postgres://USER:PASSWORD@HOST:PORT/DATABASE"],
        );
        assert!(!error.to_string().contains(PASSWORD));
    }
}

#[test]
fn nothing_shows_the_password() {
    let server = Server::of("postgres://guard:open-sesame@one,two:5433/guard").unwrap();
    let pool = server.pool().unwrap();
    let shown = format!("{server} {server:?} {pool:?}");
    has(&shown, &["one:5432,two:5433/guard"]);
    assert!(!shown.contains(PASSWORD), "{shown}");
}

/// Whether the connection of a store is encrypted.
async fn is_encrypted(store: &Postgres) -> bool {
    let ask = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let session = store.session().await.unwrap();
    session.one(ask, &[], column).await.unwrap()
}

#[tokio::test]
async fn a_certificate_is_checked_if_tls_is_required() {
    let database = Database::empty().await;
    let data: String = admin()
        .await
        .query_one("SELECT current_setting('data_directory')", &[])
        .await
        .unwrap()
        .get(0);
    let authority = fs::read(format!("{data}/../ca.pem")).unwrap();
    let authority = CertificateDer::from_pem_slice(&authority).unwrap();
    let open = async |host: &str, mode: &str, trusted: bool| {
        let mut roots = RootCertStore::empty();
        if trusted {
            roots.add(authority.clone()).unwrap();
        }
        let url = database.url_with("guard", mode).replace("127.0.0.1", host);
        let server = Server::trusting(&url, || roots)?;
        Postgres::open_at(server, &Progress::default(), super::database::NO_TIME).await
    };
    assert!(!is_encrypted(&open("127.0.0.1", "disable", false).await.unwrap()).await);
    assert!(is_encrypted(&open("127.0.0.1", "prefer", false).await.unwrap()).await);
    for mode in ["require", "verify-ca", "verify-full"] {
        assert!(is_encrypted(&open("localhost", mode, true).await.unwrap()).await);
        for (host, trusted) in [("localhost", false), ("127.0.0.1", true)] {
            let line = open(host, mode, trusted).await.unwrap_err().to_string();
            has(&line, &["cannot reach", "certificate"]);
        }
    }
}
