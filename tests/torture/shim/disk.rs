//! The disk under a folder, worked out from the journal of what was called.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use super::Shim;
use super::file::SimulatedFile;

/// A file, whatever it is called: inode numbers are used again.
type Id = usize;
type Names = BTreeMap<String, Id>;

/// What a call did to the folder.
#[derive(Debug, Clone)]
enum Naming {
    Created(String, Id),
    Unlinked(String),
    Renamed(String, String),
}

/// What the folder's disk holds for certain, and what it may hold.
pub(crate) struct Disk {
    folder: PathBuf,
    journal: PathBuf,
    files: Vec<SimulatedFile>,
    by_inode: HashMap<u64, Id>,
    /// Names that outlast a power cut.
    certain: Names,
    /// What became of them since, in order: a journalling file system keeps the first few of these.
    since: Vec<Naming>,
    /// Bytes of the journal that are taken in.
    read: usize,
}

impl Disk {
    /// One with all that the folder holds now, synced.
    pub(crate) fn of(shim: &Shim) -> Self {
        let (folder, journal) = (shim.folder.clone(), shim.journal());
        let mut disk = Self {
            folder,
            journal,
            files: Vec::new(),
            by_inode: HashMap::new(),
            certain: Names::new(),
            since: Vec::new(),
            read: 0,
        };
        disk.begin();
        disk
    }

    fn begin(&mut self) {
        File::create(&self.journal).expect("an empty journal");
        (self.read, self.since) = (0, Vec::new());
        (self.files, self.by_inode, self.certain) = (Vec::new(), HashMap::new(), Names::new());
        for (name, path) in names(&self.folder) {
            let id = self.add(inode(&path), SimulatedFile::certain(fs::read(&path).expect("a file")));
            self.certain.insert(name, id);
        }
    }

    fn add(&mut self, inode: u64, file: SimulatedFile) -> Id {
        self.files.push(file);
        self.by_inode.insert(inode, self.files.len() - 1);
        self.files.len() - 1
    }

    /// Takes in what a process did that has ended.
    pub(crate) fn follow(&mut self) {
        let journal = fs::read(&self.journal).expect("the journal");
        while self.read < journal.len() {
            let word = |n: usize| {
                let at = self.read + n * 8;
                u64::from_ne_bytes(journal[at..at + 8].try_into().expect("eight bytes"))
            };
            let (kind, inode, offset, length) = (word(0), word(1), size(word(2)), size(word(3)));
            let from = self.read + 32;
            self.read = from + length;
            self.take(kind, inode, offset, &journal[from..from + length]);
        }
        self.agrees();
    }

    fn take(&mut self, kind: u64, inode: u64, offset: usize, bytes: &[u8]) {
        let text = || String::from_utf8(bytes.to_vec()).expect("a name");
        match kind {
            1 => self.file(inode).write(offset, bytes),
            2 => self.file(inode).truncate(offset),
            3 if offset == 0 => self.file(inode).sync(),
            3 => self.file(inode).sync_failed(),
            4 => {
                let id = self.add(inode, SimulatedFile::certain(Vec::new()));
                self.since.push(Naming::Created(text(), id));
            }
            5 => self.since.push(Naming::Unlinked(text())),
            6 => {
                let both = text();
                let (from, to) = both.split_once('/').expect("two names");
                self.since.push(Naming::Renamed(from.to_owned(), to.to_owned()));
            }
            7 => {
                self.certain = self.names(self.since.len());
                self.since.clear();
            }
            other => panic!("a record of kind {other}"),
        }
    }

    fn file(&mut self, inode: u64) -> &mut SimulatedFile {
        let id = self.by_inode[&inode];
        &mut self.files[id]
    }

    /// The names, if that many changes of them were kept.
    fn names(&self, kept: usize) -> Names {
        let mut names = self.certain.clone();
        for naming in &self.since[..kept] {
            match naming {
                Naming::Created(name, id) => drop(names.insert(name.clone(), *id)),
                Naming::Unlinked(name) => drop(names.remove(name)),
                Naming::Renamed(from, to) => {
                    if let Some(id) = names.remove(from) {
                        names.insert(to.clone(), id);
                    }
                }
            }
        }
        names
    }

    /// Fails unless the folder is what the journal makes of it: a call that the library does not know would be one that is never lost.
    fn agrees(&self) {
        let (there, here) = (names(&self.folder), self.names(self.since.len()));
        assert!(there.keys().eq(here.keys()), "the journal misses a call: {there:?}, not {here:?}");
        for (name, id) in here.iter().filter(|(name, _)| !is_index(name)) {
            let same = fs::read(&there[name]).expect("a file") == self.files[*id].now;
            assert!(same, "the journal misses a call that changed {name}");
        }
    }

    /// Cuts the power: makes the folder one that a disk may hold, by `random`. Tells what became of it.
    pub(crate) fn cut(&mut self, random: &mut StdRng) -> String {
        let kept = random.random_range(0..=self.since.len());
        let mut summary = format!("{kept} of {} names kept", self.since.len());
        for path in names(&self.folder).into_values() {
            fs::remove_file(path).expect("removes");
        }
        for (name, id) in self.names(kept) {
            let file = &self.files[id];
            let mut bytes = file.after_a_cut(random);
            if is_index(&name) {
                bytes = vec![0; 32 << 10];
                random.fill_bytes(&mut bytes);
            } else if bytes != file.now {
                summary.extend([", ", name.as_str(), " changed"]);
            }
            let path = self.folder.join(name);
            fs::write(&path, bytes).expect("writes");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
        }
        self.begin();
        summary
    }
}

fn is_index(name: &str) -> bool {
    name.ends_with("-shm")
}

fn names(folder: &Path) -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries.map(|entry| (entry.file_name().into_string().expect("UTF-8"), entry.path())).collect()
}

fn inode(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).expect("a file").ino()
}

fn size(word: u64) -> usize {
    usize::try_from(word).expect("it fits")
}
