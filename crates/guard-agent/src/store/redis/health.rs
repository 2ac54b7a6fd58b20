//! Health of a Redis server, and settings that endanger records.

use redis::Connection;
use redis::RedisResult;

/// State of a Redis server, as it reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedisHealth {
    /// Its version.
    pub version: String,
    /// Eviction policy when memory is short. Records need `noeviction`.
    pub eviction: String,
    /// Bytes in use.
    pub used_memory: u64,
    /// Memory limit in bytes; 0 means no limit.
    pub max_memory: u64,
    /// True if it writes every change to disk within a second.
    pub appends: bool,
    /// Number of records of the project, of all processes.
    pub records: u64,
    /// Bytes that these records use.
    pub bytes: u64,
    /// Number of quarantined records.
    pub quarantined: u64,
}

impl RedisHealth {
    pub(super) fn ask(connection: &mut Connection) -> RedisResult<Self> {
        let (server, memory, persistence): (String, String, String) = redis::pipe()
            .cmd("INFO")
            .arg("server")
            .cmd("INFO")
            .arg("memory")
            .cmd("INFO")
            .arg("persistence")
            .query(connection)?;
        Ok(Self::read(&[server, memory, persistence].concat()))
    }

    fn read(info: &str) -> Self {
        let field = |name: &str| {
            let mut lines = info.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let number = |name| field(name).and_then(|value| value.parse().ok());
        Self {
            version: field("redis_version").unwrap_or_default().to_owned(),
            eviction: field("maxmemory_policy").unwrap_or_default().to_owned(),
            used_memory: number("used_memory").unwrap_or_default(),
            max_memory: number("maxmemory").unwrap_or_default(),
            appends: number("aof_enabled") == Some(1),
            ..Self::default()
        }
    }

    /// Describes a danger to the records, and the remedy.
    pub(super) fn warning(&self, place: &str) -> Option<String> {
        // Some services do not report the policy.
        if self.eviction.is_empty() || self.eviction == "noeviction" {
            return None;
        }
        Some(format!(
            "the Redis at {place} deletes records when its memory is short (maxmemory-policy is \
             {}): set maxmemory-policy noeviction, or give the agent a Redis of its own",
            self.eviction
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nused_memory:900\r\n\
        maxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\n# Persistence\r\naof_enabled:1\r\n";

    #[test]
    fn the_redis_info_is_parsed() {
        let health = RedisHealth::read(INFO);
        assert_eq!(health.version, "7.0.15");
        assert_eq!((health.used_memory, health.max_memory), (900, 1000));
        assert!(health.appends);
    }

    #[test]
    fn every_eviction_policy_causes_a_warning() {
        let warning = RedisHealth::read(INFO).warning("cache:6379/0").unwrap();
        assert!(warning.contains("allkeys-lru") && warning.contains("cache:6379/0"));
        let safe = INFO.replace("allkeys-lru", "noeviction");
        assert_eq!(RedisHealth::read(&safe).warning("cache"), None);
        assert_eq!(RedisHealth::read("").warning("cache"), None);
    }
}
