//! Requests that the server makes itself: to webhooks, and to the mail server.
//!
//! People choose the addresses of webhooks, so a request could reach what only this machine reaches.
//! [`Http`] therefore judges the address that it connects to, each time, and follows no redirects.
//!
//! Nothing here knows alerts. Errors name the host of a URL and never the rest of it, which is a secret
//! of most services.

mod connect;
mod failure;
mod http;
mod mail;
mod reach;
mod resolve;
mod tls;
mod url;

pub use self::failure::{Failure, Step};
pub use self::http::{Http, MAX_REPLY, Post, Reply};
pub use self::mail::{Mail, MailServer, MailTls, Mailer, Receipt};
pub use self::reach::Reach;
pub use self::resolve::{Resolver, SystemResolver};
pub use self::url::{InvalidTarget, MAX_URL, TargetUrl};
