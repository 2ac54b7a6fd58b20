//! Finding the records that a backend refuses.
//!
//! A refused group is halved until single records are left. A single record that is
//! refused is a candidate. It is rejected once any other record has been delivered
//! since. If none was, the records are not the cause, and all are kept. One bad
//! record among 512 is found in 19 requests.

/// After this many refused single records without a delivered one, the search concludes
/// that the records are not the cause.
pub(crate) const MAX_CANDIDATES: usize = 8;

/// The search for bad records in one batch.
pub(crate) struct Bisection<T> {
    /// Groups still to be sent, the next one last.
    pending: Vec<Vec<T>>,
    candidates: Vec<T>,
    proven: bool,
}

impl<T> Bisection<T> {
    pub(crate) fn new(batch: Vec<T>) -> Self {
        Self {
            pending: vec![batch],
            candidates: Vec::new(),
            proven: false,
        }
    }

    /// The group to send next, or `None` when the search is over.
    pub(crate) fn next(&mut self) -> Option<Vec<T>> {
        if !self.proven && self.candidates.len() >= MAX_CANDIDATES {
            return None;
        }
        self.pending.pop()
    }

    /// Notes that a group, or a record of another batch, was delivered. So the backend
    /// does accept records.
    pub(crate) fn prove(&mut self) {
        self.proven = true;
    }

    /// A group was refused.
    pub(crate) fn refused(&mut self, group: Vec<T>) {
        if let Err(lone) = self.halve(group) {
            self.candidates.extend(lone);
        }
    }

    /// Splits a group and adds both halves. Returns a single record unchanged.
    pub(crate) fn halve(&mut self, mut group: Vec<T>) -> Result<(), Vec<T>> {
        if group.len() < 2 {
            return Err(group);
        }
        let second = group.split_off(group.len() / 2);
        self.pending.push(second);
        self.pending.push(group);
        Ok(())
    }

    /// Ends a round. Returns the rejected records if any delivery proves the refusals.
    /// The other records form one group for the next round, candidates last, so that it
    /// starts with records that were not tried alone.
    pub(crate) fn conclude(&mut self) -> Vec<T> {
        let candidates = std::mem::take(&mut self.candidates);
        if std::mem::take(&mut self.proven) {
            return candidates;
        }
        let mut kept = self.take();
        kept.extend(candidates);
        if !kept.is_empty() {
            self.pending.push(kept);
        }
        Vec::new()
    }

    /// True if no records are left.
    pub(crate) fn is_over(&self) -> bool {
        self.pending.is_empty() && self.candidates.is_empty()
    }

    /// Number of records left.
    pub(crate) fn len(&self) -> usize {
        self.pending.iter().map(Vec::len).sum::<usize>() + self.candidates.len()
    }

    /// Takes out everything that is left.
    pub(crate) fn take(&mut self) -> Vec<T> {
        let mut left: Vec<T> = self.pending.drain(..).rev().flatten().collect();
        left.append(&mut self.candidates);
        left
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs one round with a backend that refuses groups containing any of `bad`. Returns
    /// the delivered records, the number of requests, the rejected and the kept records.
    fn search(len: usize, bad: &[usize]) -> (Vec<usize>, usize, Vec<usize>, Vec<usize>) {
        let mut bisection = Bisection::new((0..len).collect());
        let (mut delivered, mut requests) = (Vec::new(), 0);
        while let Some(group) = bisection.next() {
            requests += 1;
            if group.iter().any(|record| bad.contains(record)) {
                bisection.refused(group);
            } else {
                bisection.prove();
                delivered.extend(group);
            }
        }
        let rejected = bisection.conclude();
        let kept = bisection.take();
        assert!(bisection.is_over());
        (delivered, requests, rejected, kept)
    }

    #[test]
    fn one_bad_record_among_512_is_found_in_at_most_20_requests() {
        for bad in [0, 1, 255, 256, 300, 511] {
            let (delivered, requests, rejected, kept) = search(512, &[bad]);
            assert_eq!((delivered.len(), rejected, kept.len()), (511, vec![bad], 0));
            assert!(requests <= 20, "{requests}");
        }
    }

    #[test]
    fn a_backend_that_refuses_everything_costs_few_requests_and_no_record() {
        let all: Vec<usize> = (0..512).collect();
        let (delivered, requests, rejected, mut kept) = search(512, &all);
        assert_eq!((delivered.len(), rejected.len()), (0, 0));
        kept.sort_unstable();
        assert_eq!(kept, all);
        assert!(requests < 30, "{requests}");
    }

    #[test]
    fn a_lone_refused_record_is_kept_until_another_is_delivered() {
        let mut bisection = Bisection::new(vec!["lone"]);
        let lone = bisection.next().expect("a group");
        bisection.refused(lone);
        assert_eq!(bisection.conclude(), Vec::<&str>::new());
        bisection.prove();
        let lone = bisection.next().expect("kept");
        bisection.refused(lone);
        assert_eq!(bisection.conclude(), ["lone"]);
        assert!(bisection.is_over());
    }

    #[test]
    fn records_tried_alone_in_vain_are_tried_last_the_next_time() {
        let bad: Vec<usize> = (0..MAX_CANDIDATES).collect();
        let (_, _, _, kept) = search(512, &bad);
        assert_eq!(kept[..2], [8, 9]);
    }

    proptest! {
        #[test]
        fn every_record_is_delivered_rejected_or_kept(
            len in 1_usize..200,
            bad in prop::collection::vec(0_usize..200, 0..20),
        ) {
            let (mut all, _, rejected, kept) = search(len, &bad);
            prop_assert!(rejected.iter().all(|record| bad.contains(record)));
            prop_assert!(rejected.is_empty() || !all.is_empty());
            all.extend(rejected);
            all.extend(kept);
            all.sort_unstable();
            prop_assert_eq!(all, (0..len).collect::<Vec<_>>());
        }
    }
}
