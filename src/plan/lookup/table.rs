//! Rows in the order of a key, looked up by it: sorted once, without a node or a copy for each
//! row. The store gives rows in order, and then sorting is one walk.

use std::{borrow::Borrow, iter, slice};

/// Rows by a key that each has for itself; of several with one key the first
/// is found.
pub(in crate::plan) struct Table<K, T>(Vec<(K, T)>);

/// Rows by what is read from each.
pub(in crate::plan) fn table<'a, K: Ord, T>(
    rows: &'a [T],
    key: impl Fn(&'a T) -> K,
) -> Table<K, &'a T> {
    Table::new(rows.iter().map(|row| (key(row), row)))
}

impl<K: Ord, T> Table<K, T> {
    pub(in crate::plan) fn new(rows: impl IntoIterator<Item = (K, T)>) -> Self {
        let mut rows: Vec<(K, T)> = rows.into_iter().collect();
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(rows)
    }

    pub(in crate::plan) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&T>
    where
        K: Borrow<Q>,
    {
        let at = self.0.partition_point(|(found, _)| found.borrow() < key);
        let (found, row) = self.0.get(at)?;
        (found.borrow() == key).then_some(row)
    }

    pub(in crate::plan) fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The rows by key.
    pub(in crate::plan) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, row)| row)
    }

    /// Keys and rows by key.
    pub(in crate::plan) fn iter(&self) -> impl Iterator<Item = (&K, &T)> {
        self.into_iter()
    }
}

type Pair<'t, K, T> = (&'t K, &'t T);

impl<'t, K: Ord, T> IntoIterator for &'t Table<K, T> {
    type Item = Pair<'t, K, T>;
    type IntoIter = iter::Map<slice::Iter<'t, (K, T)>, fn(&'t (K, T)) -> Pair<'t, K, T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(key, row)| (key, row))
    }
}

/// Rows by a key that several may share.
pub(in crate::plan) struct Groups<K, T> {
    /// Where the rows of each key end.
    ends: Vec<(K, usize)>,
    rows: Vec<T>,
}

/// Rows by what is read from each.
pub(in crate::plan) fn groups<'a, K: Ord, T>(
    rows: &'a [T],
    key: impl Fn(&'a T) -> K,
) -> Groups<K, &'a T> {
    Groups::new(rows.iter().map(|row| (key(row), row)))
}

impl<K: Ord, T> Groups<K, T> {
    /// Rows of one key stay in their order.
    pub(in crate::plan) fn new(rows: impl IntoIterator<Item = (K, T)>) -> Self {
        let Table(sorted) = Table::new(rows);
        let mut groups = Self {
            ends: Vec::new(),
            rows: Vec::with_capacity(sorted.len()),
        };
        for (key, row) in sorted {
            groups.rows.push(row);
            let end = groups.rows.len();
            match groups.ends.last_mut() {
                Some((last, at)) if *last == key => *at = end,
                _ => groups.ends.push((key, end)),
            }
        }
        groups
    }

    /// Other rows in the place of each key's.
    pub(in crate::plan) fn map<U>(
        &self,
        mut rows: impl FnMut(&K, &[T], &mut Vec<U>),
    ) -> Groups<K, U>
    where
        K: Copy,
    {
        let mut mapped = Vec::new();
        let ends = self.iter().map(|(key, of_key)| {
            rows(key, of_key, &mut mapped);
            (*key, mapped.len())
        });
        Groups {
            ends: ends.collect(),
            rows: mapped,
        }
    }

    /// The rows of a key, where there are any.
    pub(in crate::plan) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&[T]>
    where
        K: Borrow<Q>,
    {
        let at = self.ends.partition_point(|(found, _)| found.borrow() < key);
        let (found, _) = self.ends.get(at)?;
        (found.borrow() == key).then(|| self.group(at))
    }

    /// The rows of a key, if any.
    pub(in crate::plan) fn all<Q: Ord + ?Sized>(&self, key: &Q) -> &[T]
    where
        K: Borrow<Q>,
    {
        self.get(key).unwrap_or_default()
    }

    /// Keys and the rows of each, by key.
    pub(in crate::plan) fn iter(&self) -> impl Iterator<Item = (&K, &[T])> {
        let groups = (0..self.ends.len()).map(|at| self.group(at));
        self.ends.iter().map(|(key, _)| key).zip(groups)
    }

    fn group(&self, at: usize) -> &[T] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before].1);
        &self.rows[start..self.ends[at].1]
    }
}

impl<'t, K: Ord, T> IntoIterator for &'t Groups<K, T> {
    type Item = (&'t K, &'t [T]);
    type IntoIter = Box<dyn Iterator<Item = Self::Item> + 't>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}
