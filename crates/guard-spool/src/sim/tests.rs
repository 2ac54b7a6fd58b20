use super::*;
use crate::platform::fs::FileSystem;

fn path(name: &str) -> PathBuf {
    Path::new("/spool").join(name)
}

/// File systems with different seeds, each with an empty directory.
fn worlds() -> impl Iterator<Item = SimFs> {
    (0..50).map(|seed| {
        let fs = SimFs::new(seed);
        fs.create_dir_all(Path::new("/spool")).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        fs
    })
}

fn read(fs: &SimFs, name: &str) -> Option<Vec<u8>> {
    fs.read(&path(name), 0, 100).ok()
}

/// The possible contents of a file after an action and a power cut, over all seeds.
fn outcomes(name: &str, act: impl Fn(&SimFs)) -> std::collections::BTreeSet<Option<Vec<u8>>> {
    worlds()
        .map(|fs| {
            act(&fs);
            fs.crash();
            read(&fs, name)
        })
        .collect()
}

#[test]
fn what_is_synced_with_its_name_survives_a_power_cut() {
    let found = outcomes("a", |fs| {
        let file = fs.create_new(&path("a")).unwrap();
        file.append(b"abc").unwrap();
        file.sync().unwrap();
        fs.sync_dir(Path::new("/spool")).unwrap();
    });
    assert_eq!(found, [Some(b"abc".to_vec())].into());
}

#[test]
fn an_unsynced_name_or_write_survives_or_not() {
    let found = outcomes("a", |fs| {
        let file = fs.create_new(&path("a")).unwrap();
        file.append(b"ab").unwrap();
        file.sync().unwrap();
        file.append(b"cd").unwrap();
    });
    for expected in [
        None,
        Some(b"ab".to_vec()),
        Some(b"abc".to_vec()),
        Some(b"abcd".to_vec()),
    ] {
        assert!(found.contains(&expected), "{expected:?}");
    }
    assert_eq!(found.len(), 4);
}

#[test]
fn later_writes_may_arrive_without_earlier_ones() {
    let found = outcomes("a", |fs| {
        let file = fs.create_new(&path("a")).unwrap();
        file.append(b"ab").unwrap();
        file.append(b"cd").unwrap();
        fs.sync_dir(Path::new("/spool")).unwrap();
    });
    assert!(found.contains(&Some(b"\0\0cd".to_vec())));
}

#[test]
fn a_rename_happens_as_a_whole_or_not_at_all() {
    let found = outcomes("a", |fs| {
        for (name, bytes) in [("a", b"old"), ("b", b"new")] {
            let file = fs.create_new(&path(name)).unwrap();
            file.append(bytes).unwrap();
            file.sync().unwrap();
        }
        fs.sync_dir(Path::new("/spool")).unwrap();
        fs.rename(&path("b"), &path("a")).unwrap();
    });
    assert_eq!(found, [Some(b"old".to_vec()), Some(b"new".to_vec())].into());
}

#[test]
fn a_failed_sync_drops_what_the_next_one_calls_written() {
    let found = outcomes("a", |fs| {
        let file = fs.create_new(&path("a")).unwrap();
        fs.sync_dir(Path::new("/spool")).unwrap();
        file.append(b"abc").unwrap();
        let syncs = true;
        fs.set_faults(Faults {
            syncs,
            ..Faults::default()
        });
        file.sync().unwrap_err();
        fs.heal();
        file.sync().unwrap();
        assert_eq!(read(fs, "a").unwrap(), b"abc");
    });
    assert!(found.contains(&Some(b"".to_vec())));
}

#[test]
fn a_full_disk_takes_what_fits_and_removal_makes_room() {
    let fs = worlds().next().unwrap();
    let capacity = Some(4);
    fs.set_faults(Faults {
        capacity,
        ..Faults::default()
    });
    let file = fs.create_new(&path("a")).unwrap();
    let refused = file.append(b"abcdef").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    assert_eq!(read(&fs, "a").unwrap(), b"abcd");
    fs.remove_file(&path("a")).unwrap();
    let file = fs.create_new(&path("b")).unwrap();
    file.append(b"xyz").unwrap();
}

#[test]
fn a_lock_is_held_until_it_is_dropped_or_the_power_fails() {
    let fs = worlds().next().unwrap();
    let lock = fs.try_lock(&path("lock")).unwrap();
    assert!(lock.is_some() && fs.try_lock(&path("lock")).unwrap().is_none());
    drop(lock);
    let old = fs.try_lock(&path("lock")).unwrap();
    assert!(old.is_some());
    fs.sync_dir(Path::new("/spool")).unwrap();
    fs.crash();
    let new = fs.try_lock(&path("lock")).unwrap();
    assert!(new.is_some());
    drop(old);
    assert!(fs.try_lock(&path("lock")).unwrap().is_none());
}

#[test]
fn operations_fail_when_they_are_told_to() {
    let fs = worlds().next().unwrap();
    fs.fail_after(1, false);
    let list = || fs.list(Path::new("/spool")).is_ok();
    assert_eq!([list(), list(), list()], [true, false, true]);
    fs.fail_after(0, true);
    assert_eq!([list(), list()], [false, false]);
    fs.heal();
    assert!(list());
}
