//! A sorted table of prefixes.

/// Finds the longest stored key that a text starts with: binary search, then steps to ever shorter keys.
#[derive(Debug, Clone)]
pub(super) struct PrefixTable<T> {
    /// Sorted by key; no key twice.
    entries: Vec<PrefixEntry<T>>,
}

#[derive(Debug, Clone)]
struct PrefixEntry<T> {
    key: Box<[u8]>,
    /// The longest other key that this one starts with.
    parent: Option<usize>,
    value: T,
}

impl<T> Default for PrefixTable<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<T> PrefixTable<T> {
    /// The first of equal keys wins.
    pub(super) fn build(mut pairs: Vec<(Box<[u8]>, T)>) -> Self {
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|later, first| later.0 == first.0);
        let mut entries: Vec<PrefixEntry<T>> = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            // Sorted: whatever this key starts with is the entry before it or among that one's parents.
            let mut parent = entries.len().checked_sub(1);
            while let Some(index) = parent
                && !key.starts_with(&entries[index].key)
            {
                parent = entries[index].parent;
            }
            entries.push(PrefixEntry { key, parent, value });
        }
        Self { entries }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Length of the longest key that `text` starts with, and its value.
    pub(super) fn find(&self, text: &[u8]) -> Option<(usize, &T)> {
        self.longest(text).map(|entry| (entry.key.len(), &entry.value))
    }

    /// The values of all keys that `text` starts with, the longest first.
    pub(super) fn all<'a>(&'a self, text: &[u8]) -> impl Iterator<Item = &'a T> {
        let longest = self.longest(text);
        let parent = |entry: &&PrefixEntry<T>| self.entries.get(entry.parent?);
        std::iter::successors(longest, parent).map(|entry| &entry.value)
    }

    fn longest(&self, text: &[u8]) -> Option<&PrefixEntry<T>> {
        let after = self.entries.partition_point(|entry| *entry.key <= *text);
        let mut entry = self.entries.get(after.checked_sub(1)?)?;
        // Every key that `text` starts with is this one or a parent of it, and all of them lie in the common part.
        let common = entry.key.iter().zip(text).take_while(|(a, b)| a == b).count();
        while entry.key.len() > common {
            entry = self.entries.get(entry.parent?)?;
        }
        Some(entry)
    }
}
