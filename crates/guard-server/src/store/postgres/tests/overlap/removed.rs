//! What nodes save of a project that another node has removed.

use std::collections::BTreeMap;

use super::agents::{ASKED, check_in, save};
use super::alerts::{commit, update};
use super::rules::rules;
use super::{AT, World, alert};
use crate::fleet::subscribers::room_for;
use crate::store::{
    Alerts as _, Draft, Fleet as _, KeepVersions, LossReport, Losses as _, Projects as _,
    RulesOutcome, RulesStore as _, StatusReport,
};

#[tokio::test]
async fn what_another_node_saves_late_for_a_removed_project_is_not_kept() {
    let world = World::new().await;
    let [first, node, _] = &world.nodes;
    let project = world.project;
    first.remove_project(project, AT, None).await.unwrap();
    while first.sweep().await.unwrap() {}

    let check_ins = vec![check_in(project, "web", 0, ASKED)];
    assert_eq!(save(check_ins, 9)(node).await, Ok(0));
    let report = StatusReport {
        project,
        install_id: "web".to_owned(),
        received_at: AT,
        body: "{}".to_owned(),
    };
    node.save_report(report, room_for(9)).await.unwrap();
    let losses = LossReport {
        project,
        install_id: "web".to_owned(),
        process: String::new(),
        at: AT,
        totals: BTreeMap::from([("expired".to_owned(), 1)]),
    };
    assert_eq!(node.report_losses(losses).await, Ok(BTreeMap::new()));
    let lost = BTreeMap::from([("invalid_event", 1)]);
    node.count_losses(project, AT, lost).await.unwrap();
    let set = node.set_rules(project, None, rules(1), KeepVersions::ALL, None, None);
    assert_eq!(set.await, Ok(RulesOutcome::Outdated));
    let draft = Draft {
        document: "{}".to_owned(),
        base: None,
        saved_at: AT,
        author: None,
    };
    node.save_draft(project, draft, None).await.unwrap();
    assert_eq!(node.add_alert(alert(project), 9, None).await, Ok(false));
    let defaults = node.add_default_alerts(project, vec![alert(project)]);
    assert_eq!(defaults.await, Ok(false));
    assert_eq!(commit(project, update(1, &["n"]))(node).await, Ok(0));

    for table in [
        "rule_versions",
        "rule_drafts",
        "rule_followers",
        "agent_status",
        "loss_totals",
        "losses",
        "alerts",
        "alert_defaults",
        "alert_positions",
        "alert_history",
        "alert_outbox",
    ] {
        let rows = world.number(&format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(rows, 0, "{table}");
    }
}
