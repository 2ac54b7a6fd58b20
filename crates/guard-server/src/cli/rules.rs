//! `guard-server rules ...`: works directly on the database, with or without a running server.

use std::iter::once;

use crate::cli::config::Args;
use crate::cli::operation_command::OperationCommand;
use crate::cli::projects::named;
use crate::cli::rules_command::{Note, RulesArgs, RulesCommand};
use crate::fleet::adoption::{Adoption, AdoptionState, adoption};
use crate::people::{Actor, AuditEntry, Change};
use crate::rules::draft;
use crate::rules::operation::{Ban, Operation, Schema};
use crate::rules::policy::Entry;
use crate::rules::versions::{self, ChangeError};
use crate::rules::{Audited, Provenance};
use crate::store::{Project, Stores};
use crate::visible::{visible, visible_json};
use guard_wire::rules::RulesError;
use jiff::Timestamp;

use super::table::{Table, print, time};
use super::{FAILED, Outcome, failed_with, opened};

/// How many versions `history` prints.
const HISTORY: u16 = 1000;

/// Runs `guard-server rules`.
///
/// # Errors
///
/// The exit code, and a message that says why it failed.
pub async fn rules(args: &Args, RulesArgs { project, command }: &RulesArgs) -> Outcome<()> {
    // Read the file first: if it is missing, no database must be created.
    let document = match command {
        RulesCommand::Set { file, .. }
        | RulesCommand::Draft {
            file: Some(file), ..
        } => std::fs::read(file)
            .map_err(|error| (FAILED, format!("cannot read {}: {error}", file.display())))?,
        _ => Vec::new(),
    };
    let stores = opened(args).await?;
    let project = named(&stores, project).await?;
    let version = match command {
        RulesCommand::Show { version } => return show(&stores, &project, *version).await,
        RulesCommand::History => return history(&stores, &project).await,
        RulesCommand::Who { version } => return who(&stores, &project, *version).await,
        RulesCommand::List => return list(&stores, &project).await,
        RulesCommand::Draft { discard: true, .. } => {
            let entry = of_draft(&project, "rules.discard_draft");
            let discarded = draft::discard(&*stores.rules, project.id, Some(entry)).await;
            discarded.map_err(failed_with(FAILED))?;
            return print(once("draft discarded".to_owned()));
        }
        RulesCommand::Draft { file, author, .. } => {
            if file.is_some() {
                let (author, now) = (author.clone(), Timestamp::now());
                let entry = Some(of_draft(&project, "rules.save_draft"));
                draft::save(&*stores.rules, project.id, &document, author, now, entry)
                    .await
                    .map_err(failed_with(FAILED))?;
            }
            let draft = draft::get(&*stores.rules, project.id).await;
            return print_json(&draft.map_err(failed_with(FAILED))?.document);
        }
        RulesCommand::Diff => {
            let changes = draft::diff(&*stores.rules, project.id).await;
            let changes = changes.map_err(failed_with(FAILED))?.into_iter();
            let rows = changes.map(|change| {
                let json = [change.published, change.draft].map(|value| value.to_string());
                let [published, draft] = json.map(|json| visible_json(&json).into_owned());
                [change.field, published, draft]
            });
            let table = Table::new(["FIELD", "PUBLISHED", "DRAFT"]).with(rows);
            return table.print("publishing the draft would change nothing");
        }
        RulesCommand::Publish { note } => {
            let now = Timestamp::now();
            let checked = draft::check(&*stores.rules, project.id, now).await;
            let checked = checked.map_err(refused)?;
            let by = by(&project, note, "rules.publish_draft");
            draft::publish(&*stores.rules, project.id, checked, &by, now)
                .await
                .map_err(refused)?
        }
        RulesCommand::Set { note, .. } => {
            let by = by(&project, note, "rules.publish");
            crate::rules::set(&*stores.rules, &project, &document, &by)
                .await
                .map_err(refused)?
        }
        RulesCommand::Operation(command) => add_or_remove(&stores, &project, command).await?,
        RulesCommand::Unban { ip, note } => {
            let ban = Operation::Ban(Ban { ip: ip.clone() });
            remove_operation(&stores, &project, ban, note).await?
        }
        RulesCommand::Rollback { version, note } => {
            let now = Timestamp::now();
            let by = by(&project, note, "rules.roll_back");
            versions::roll_back(&*stores.rules, project.id, *version, &by, now)
                .await
                .map_err(refused)?
        }
    };
    let followed = followed(&stores, &project).await?;
    print([format!("rules version {version} set"), followed].into_iter())
}

/// What the audit log says about a change of the draft.
fn of_draft(project: &Project, action: &'static str) -> AuditEntry {
    let change = Change {
        action,
        project: Some(project.name.clone()),
        object: "the draft".to_owned(),
        ..Change::default()
    };
    AuditEntry::new(&Actor::CLI, change, Timestamp::now())
}

/// How many processes use the rules.
async fn followed(stores: &Stores, project: &Project) -> Outcome<String> {
    let found = adoption(
        &*stores.rules,
        &*stores.fleet,
        project.id,
        None,
        Timestamp::now(),
    )
    .await;
    let agents = found.map_err(failed_with(FAILED))?.agents.into_iter();
    let following = agents.filter(|agent| agent.state != Some(AdoptionState::Silent));
    Ok(match following.count() {
        0 => "no process follows the rules, so nothing applies them yet: the application needs \
              enable_dynamic_rules=True"
            .to_owned(),
        1 => "1 process follows the rules".to_owned(),
        count => format!("{count} processes follow the rules"),
    })
}

/// The message for a refused change.
fn refused(error: ChangeError) -> (u8, String) {
    let how = match &error {
        ChangeError::Unconfirmed(_) | ChangeError::Replaced => "; to do it anyway, add --yes",
        _ => "",
    };
    (FAILED, format!("{error}{how}"))
}

/// The message for a refused operation. It names the wrong argument.
fn refused_by(schema: &Schema) -> impl Fn(ChangeError) -> (u8, String) {
    move |error| match error {
        ChangeError::Rules(RulesError::Field { field, problem }) => {
            let argument = argument(schema, &field);
            (FAILED, format!("`{argument}`: {problem}"))
        }
        error => refused(error),
    }
}

/// The name of an operation's field on the command line.
fn argument(schema: &Schema, field: &str) -> String {
    let (name, index) = field.split_at(field.find('[').unwrap_or(field.len()));
    let of_kind = schema.fields.iter().find(|it| it.name == name);
    match (name, of_kind.and_then(|it| it.option)) {
        ("duration_s", _) => "--for".to_owned(),
        ("author" | "reason", _) => format!("--{name}"),
        (_, Some(option)) => format!("--{option}{index}"),
        (name, None) => format!("{name}{index}"),
    }
}

/// Removes an operation. A ban must be in the rules, unless the command confirms: a guard may have
/// made the ban itself.
async fn remove_operation(
    stores: &Stores,
    project: &Project,
    operation: Operation,
    note: &Note,
) -> Outcome<i64> {
    let (schema, now) = (operation.schema(), Timestamp::now());
    if let Operation::Ban(ban) = &operation
        && !note.yes
        && !versions::is_banned(&*stores.rules, project.id, ban, now)
            .await
            .map_err(refused_by(schema))?
    {
        return Err((
            FAILED,
            format!(
                "the rules do not ban {}, so nothing changed; if a guard banned it by itself, \
                 lift that with --yes",
                visible(&ban.ip)
            ),
        ));
    }
    let by = by(project, note, "rules.remove");
    versions::remove(&*stores.rules, project.id, operation, &by, now)
        .await
        .map_err(refused_by(schema))
}

/// Who makes a change, and what the audit log says about it.
fn by(project: &Project, note: &Note, action: &'static str) -> Provenance {
    Provenance {
        author: note.author.clone(),
        reason: note.reason.clone(),
        caller: Vec::new(),
        confirmed: note.yes,
        automatic: false,
        audited: Some(Audited {
            actor: Actor::CLI,
            action,
            project: project.name.clone(),
        }),
    }
}

async fn add_or_remove(
    stores: &Stores,
    project: &Project,
    command: &OperationCommand,
) -> Outcome<i64> {
    let (schema, term, now) = (command.schema, &command.term, Timestamp::now());
    let refused = |error: RulesError| refused_by(schema)(error.into());
    let operation = command.operation().map_err(refused)?;
    if term.remove {
        return remove_operation(stores, project, operation, &term.note).await;
    }
    let by = by(project, &term.note, "rules.add");
    let entry = Entry::new(operation, term.seconds, &by, now).map_err(refused)?;
    versions::put(&*stores.rules, project.id, &entry, &by, now)
        .await
        .map_err(refused_by(schema))
}

async fn show(stores: &Stores, project: &Project, version: Option<i64>) -> Outcome<()> {
    let document = if let Some(version) = version {
        let stored = versions::at(&*stores.rules, project.id, version).await;
        Some(stored.map_err(failed_with(FAILED))?.document)
    } else {
        let stored = stores
            .rules
            .rules(project.id)
            .await
            .map_err(failed_with(FAILED))?;
        stored.map(|rules| rules.document)
    };
    print_json(document.as_deref().unwrap_or("{}"))
}

async fn list(stores: &Stores, project: &Project) -> Outcome<()> {
    let in_force = versions::in_force(&*stores.rules, project.id, Timestamp::now()).await;
    let (_, entries) = in_force.map_err(failed_with(FAILED))?;
    let rows = entries.into_iter().map(|entry| {
        let cells = [entry.ends_at.map(time), entry.author, entry.reason];
        let [ends, author, reason] = cells.map(Option::unwrap_or_default);
        [entry.operation.to_string(), ends, author, reason]
    });
    let table = Table::new(["OPERATION", "ENDS", "AUTHOR", "REASON"]).with(rows);
    table.print("no operations are in force")
}

async fn history(stores: &Stores, project: &Project) -> Outcome<()> {
    let history = stores
        .rules
        .rules_history(project.id, i64::MAX, HISTORY)
        .await;
    let history = history.map_err(failed_with(FAILED))?;
    let rows = history.into_iter().map(|(version, change)| {
        let [author, reason] = [change.author, change.reason].map(Option::unwrap_or_default);
        let at = time(change.created_at);
        [version.to_string(), at, change.action, author, reason]
    });
    let table = Table::new(["VERSION", "TIME", "CHANGE", "AUTHOR", "REASON"]).with(rows);
    table.print("no rules were set yet")
}

async fn who(stores: &Stores, project: &Project, version: Option<i64>) -> Outcome<()> {
    let found = adoption(
        &*stores.rules,
        &*stores.fleet,
        project.id,
        version,
        Timestamp::now(),
    )
    .await;
    let Adoption { agents, .. } = found.map_err(failed_with(FAILED))?;
    let rows = agents.into_iter().map(|agent| {
        let state = agent.state.map_or_else(String::new, |it| it.to_string());
        let (pace, known) = (agent.pace(), agent.subscriber);
        let version = |version: Option<i64>| version.map_or_else(String::new, |it| it.to_string());
        let fetched = version(known.fetched.map(|it| it.version));
        let applied = known.applied.map(|it| it.version).max(known.in_force);
        [
            state,
            known.id.install_id,
            known.id.process,
            known.id.agent,
            fetched,
            version(applied),
            pace,
            time(known.seen_at),
            known.refused.unwrap_or_default(),
        ]
    });
    let headings = [
        "STATE", "INSTALL", "PROCESS", "AGENT", "FETCHED", "APPLIED", "UPDATES", "SEEN", "REFUSED",
    ];
    let table = Table::new(headings).with(rows);
    table.print("no process has asked for rules yet")
}

fn print_json(document: &str) -> Outcome<()> {
    print(once(visible_json(document).into_owned()))
}
