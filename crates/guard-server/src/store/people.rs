//! People, sessions, setup links and tokens.

use jiff::Timestamp;

use super::BoxFuture;
use crate::people::{
    AuditEntry, CredentialHash, Person, PersonOutcome, PersonUpdate, Session, SessionLimits,
    SetupLink, Token,
};

/// People, sessions, setup links and tokens. Credentials are stored as hashes only. The
/// [`Audit`](super::Audit) log says what an `entry` is.
///
/// Somebody can manage the server as long as one person has a password and the role admin for all
/// projects. No change removes the last such person.
pub trait People: Send + Sync {
    /// All people, by name.
    fn people(&self) -> BoxFuture<'_, Vec<Person>>;

    /// The person called `name`.
    fn person<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Person>>;

    /// Whether nobody can manage the server yet.
    fn needs_setup(&self) -> BoxFuture<'_, bool>;

    /// The hashed password of the person called `name`, if one was chosen.
    fn password_of<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<String>>;

    /// Adds a person, with a hashed password. Returns whether the name was free.
    fn add_person(
        &self,
        person: Person,
        password: Option<String>,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool>;

    /// Changes a person. A new password ends the person's sessions and links.
    fn change_person<'a>(
        &'a self,
        name: &'a str,
        update: PersonUpdate,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, PersonOutcome>;

    /// Removes a person, and the person's sessions and links.
    fn remove_person<'a>(
        &'a self,
        name: &'a str,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, PersonOutcome>;

    /// Stores a link. It replaces the other links of the same person. Of links for the first admin,
    /// `keep` are kept, newest first.
    fn add_link(
        &self,
        hash: CredentialHash,
        link: SetupLink,
        keep: u16,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, ()>;

    /// The link with this hash, if it was not used.
    fn link(&self, hash: CredentialHash) -> BoxFuture<'_, Option<SetupLink>>;

    /// Uses a link: in one step removes it and sets the password of its person. A link for the first
    /// admin adds `person`, and removes all such links. Returns whether the link was there and its
    /// person exists, or, for the first admin, the name was free.
    fn use_link(
        &self,
        hash: CredentialHash,
        person: Person,
        password: String,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool>;

    /// Stores a session, and that the person signed in. Returns whether there is such a person.
    fn add_session(
        &self,
        hash: CredentialHash,
        session: Session,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool>;

    /// The session with this hash, and its person as stored now.
    fn session(&self, hash: CredentialHash) -> BoxFuture<'_, Option<(Session, Person)>>;

    /// Stores when the session was last used.
    fn touch_session(&self, hash: CredentialHash, at: Timestamp) -> BoxFuture<'_, ()>;

    /// Ends a session.
    fn remove_session(&self, hash: CredentialHash, entry: Option<AuditEntry>) -> BoxFuture<'_, ()>;

    /// Ends all sessions of a person, except `keep`. Returns how many.
    fn remove_sessions<'a>(
        &'a self,
        person: &'a str,
        keep: Option<CredentialHash>,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, u64>;

    /// How many sessions there are, with those that are over and not removed yet.
    fn count_sessions(&self) -> BoxFuture<'_, u64>;

    /// Removes the sessions that are over at `now`. Returns how many.
    fn expire_sessions(&self, limits: SessionLimits, now: Timestamp) -> BoxFuture<'_, u64>;

    /// All tokens, oldest first.
    fn tokens(&self) -> BoxFuture<'_, Vec<Token>>;

    /// The token with this hash.
    fn token(&self, hash: CredentialHash) -> BoxFuture<'_, Option<Token>>;

    /// Stores a token. It replaces the token with the same id.
    fn save_token(
        &self,
        hash: CredentialHash,
        token: Token,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, ()>;

    /// Stores when the token was last used.
    fn touch_token<'a>(&'a self, id: &'a str, at: Timestamp) -> BoxFuture<'a, ()>;

    /// Removes a token. Returns it.
    fn remove_token<'a>(
        &'a self,
        id: &'a str,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, Option<Token>>;
}
