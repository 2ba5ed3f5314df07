//! The kernel's resolver and the walking one give the same answers, and neither leaves the root.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::fstat;

use super::*;

/// A directory with a root in it and things outside of that, removed with the value.
struct Tree {
    base: PathBuf,
    root: OwnedFd,
}

impl Tree {
    fn new(name: &str) -> Self {
        let base = std::env::temp_dir().join(format!("crun-inner-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&base));
        std::fs::create_dir_all(base.join("root")).unwrap();
        std::fs::create_dir(base.join("outside")).unwrap();
        std::fs::write(base.join("outside/secret"), "").unwrap();
        let flags = PATH_ONLY | OFlags::DIRECTORY;
        let root = openat(rustix::fs::CWD, base.join("root"), flags, Mode::empty()).unwrap();
        Self { base, root }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.base.join("root").join(path)
    }

    fn link(&self, target: &str, at: &str) {
        symlink(target, self.path(at)).unwrap();
    }

    fn make(&self, path: &str, missing: Missing) -> Result<OwnedFd, Errno> {
        open_or_make(self.root.as_fd(), &inner(path), missing, &mut Made::none())
    }

    /// What the walk finds, by device and inode.
    fn walked(&self, path: &str, last: Last) -> Result<(u64, u64), Errno> {
        let walk = Walk::new(self.root.as_fd()).run(inner(path).as_c_str(), last, &mut Made::none());
        walk.map(|found| identity(&found.file))
    }

    /// What the kernel finds.
    fn resolved(&self, path: &str, flags: OFlags) -> Result<(u64, u64), Errno> {
        resolve(self.root.as_fd(), inner(path).as_c_str(), flags, IN_ROOT)
            .unwrap()
            .map(|file| identity(&file))
    }

    fn assert_nothing_outside(&self) {
        let names: Vec<_> = std::fs::read_dir(self.base.join("outside")).unwrap().flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.base));
    }
}

fn inner(path: &str) -> InnerPath {
    InnerPath::new(path, || "test".to_owned()).unwrap()
}

fn identity(file: &OwnedFd) -> (u64, u64) {
    let stat = fstat(file).unwrap();
    (stat.st_dev, stat.st_ino)
}

fn identity_of(path: &Path) -> (u64, u64) {
    let meta = std::fs::metadata(path).unwrap();
    (meta.dev(), meta.ino())
}

#[test]
fn missing_directories_and_files_are_made() {
    let tree = Tree::new("make");
    tree.make("/a/b/c", Missing::Directory).unwrap();
    tree.make("/d/e", Missing::File).unwrap();
    assert!(tree.path("a/b/c").is_dir() && tree.path("d/e").is_file());
}

#[test]
fn what_a_dangling_link_names_is_made_inside() {
    let tree = Tree::new("dangling");
    tree.link("/run/deep", "var");
    tree.link("../../../outside/made", "up");
    let made = tree.make("/var/lib/data", Missing::Directory).unwrap();
    assert_eq!(identity(&made), identity_of(&tree.path("run/deep/lib/data")));
    tree.make("/up", Missing::File).unwrap();
    assert!(tree.path("outside/made").is_file());
    tree.assert_nothing_outside();
}

#[test]
fn a_link_out_of_the_root_leads_into_it() {
    let tree = Tree::new("links");
    std::fs::create_dir(tree.path("etc")).unwrap();
    tree.link("/etc", "absolute");
    tree.link("../../outside/secret", "relative");
    tree.make("/absolute/made", Missing::Directory).unwrap();
    assert!(tree.path("etc/made").is_dir());
    assert_eq!(tree.walked("/relative", Last::Follow), Err(Errno::NOENT));
    assert_eq!(tree.resolved("/relative", OFlags::empty()), Err(Errno::NOENT));
}

#[test]
fn a_file_in_the_way_is_an_error() {
    let tree = Tree::new("file");
    std::fs::write(tree.path("file"), "").unwrap();
    assert_eq!(tree.make("/file/below", Missing::Directory).unwrap_err(), Errno::NOTDIR);
    assert_eq!(tree.make("/file", Missing::Directory).unwrap_err(), Errno::NOTDIR);
    assert_eq!(
        Walk::new(tree.root.as_fd())
            .run(c"file", Last::Make(Missing::Directory), &mut Made::none())
            .unwrap_err(),
        Errno::NOTDIR
    );
}

#[test]
fn a_circle_of_links_is_an_error() {
    let tree = Tree::new("circle");
    tree.link("b", "a");
    tree.link("a", "b");
    assert_eq!(tree.make("/a/x", Missing::Directory).unwrap_err(), Errno::LOOP);
    assert_eq!(tree.walked("/a", Last::Follow), Err(Errno::LOOP));
}

#[test]
fn magic_links_are_not_followed() {
    let tree = Tree::new("magic");
    let proc = openat(rustix::fs::CWD, "/proc", PATH_ONLY, Mode::empty()).unwrap();
    for path in [c"self/root", c"self/cwd", c"self/exe", c"thread-self/ns/mnt"] {
        let walked = Walk::new(proc.as_fd()).run(path, Last::Follow, &mut Made::none());
        assert_eq!(walked.unwrap_err(), Errno::LOOP, "{path:?}");
        assert_eq!(resolve(proc.as_fd(), path, OFlags::empty(), IN_ROOT).unwrap().unwrap_err(), Errno::LOOP);
    }
    let own = Walk::new(proc.as_fd()).run(c"self/status", Last::Follow, &mut Made::none());
    assert_eq!(identity(&own.unwrap().file), identity_of(Path::new("/proc/self/status")));
    drop(tree);
}

#[test]
fn a_link_to_the_root_is_no_place_for_a_mount() {
    let tree = Tree::new("to-root");
    std::fs::create_dir(tree.path("a")).unwrap();
    for (text, at) in [("/", "absolute"), ("..", "a/up"), (".", "itself"), ("a/up", "chain")] {
        tree.link(text, at);
    }
    let root = tree.root.as_fd();
    for path in ["/absolute", "/a/up", "/itself", "/chain", "/a/up/itself"] {
        let path = inner(path);
        assert_eq!(open(root, &path).unwrap_err(), Errno::BUSY, "{path}");
        let place = open_or_make_place(root, &path, Missing::Directory, &mut Made::none());
        assert_eq!(place.unwrap_err(), Errno::BUSY, "{path}");
        let found = find_or_make_entry(root, &path, Last::Follow, &mut Made::none());
        assert_eq!(found.unwrap_err(), Errno::BUSY, "{path}");
        open_or_make(root, &path, Missing::Directory, &mut Made::none()).unwrap();
    }
    for path in ["/", "/absolute/a", "/a/up/a"] {
        open(root, &inner(path)).unwrap();
        open_or_make_place(root, &inner(path), Missing::Directory, &mut Made::none()).unwrap();
        find_or_make_entry(root, &inner(path), Last::Follow, &mut Made::none()).unwrap();
    }
}

#[test]
fn what_was_found_can_be_opened_again_in_its_place() {
    let tree = Tree::new("again");
    std::fs::create_dir_all(tree.path("a/b")).unwrap();
    tree.link("a/../a/b", "link");
    tree.link("a/b/..", "up");
    for (path, place) in [("/a/b", "a/b"), ("/link", "a/b"), ("/up", "a"), ("/a", "a")] {
        let found = Walk::new(tree.root.as_fd())
            .run(inner(path).as_c_str(), Last::Follow, &mut Made::none())
            .unwrap();
        let again = found.reopen(tree.root.as_fd()).unwrap().unwrap();
        assert_eq!(
            (identity(&found.file), identity(&again)),
            (identity_of(&tree.path(place)), identity(&found.file))
        );
    }
    let root = Walk::new(tree.root.as_fd()).run(c".", Last::Follow, &mut Made::none()).unwrap();
    assert!(root.reopen(tree.root.as_fd()).is_none());
}

#[test]
fn nothing_is_mounted_that_could_not_be_taken_off_again() {
    let tree = Tree::new("mounting");
    std::fs::create_dir(tree.path("d")).unwrap();
    let root = tree.root.as_fd();
    let find = |path: &str| find_or_make_entry(root, &inner(path), Last::Follow, &mut Made::none()).unwrap();
    let (root_itself, directory) = (find("/"), find("/d"));
    let mount = |made: &mut Made, found: &Found| {
        let mut attached = false;
        let result = made.mount(root, found.place(root), || {
            attached = true;
            Ok(())
        });
        (result, attached)
    };
    let mut made = Made::with_mounts(1);
    assert_eq!(mount(&mut made, &root_itself), (Err(Errno::BUSY), false));
    assert_eq!(made.mount(root, directory.place(root), || Err(Errno::PERM)), Err(Errno::PERM));
    assert_eq!(mount(&mut made, &directory), (Ok(()), true));
    assert_eq!(mount(&mut made, &directory), (Err(Errno::NOMEM), false));
    // Where the mount namespace goes away with a failure, it does not matter.
    assert_eq!(mount(&mut Made::with_capacity(0), &root_itself), (Ok(()), true));
}

#[test]
fn what_was_made_is_taken_away_again_and_nothing_else() {
    let tree = Tree::new("undo");
    std::fs::create_dir(tree.path("mine")).unwrap();
    let mut made = Made::with_capacity(16);
    for (path, missing) in [("/mine/a/b", Missing::Directory), ("/mine/a/file", Missing::File)] {
        open_or_make(tree.root.as_fd(), &inner(path), missing, &mut made).unwrap();
    }
    made.undo();
    assert_eq!(std::fs::read_dir(tree.path("mine")).unwrap().count(), 0);
    assert!(tree.path("mine").is_dir());
}

/// Small numbers that look random and are the same in every run (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }

    /// A path over a small alphabet, so that paths meet.
    fn path(&mut self, components: &[&str]) -> String {
        let length = 1 + self.below(5);
        let names: Vec<_> = (0..length).map(|_| components[self.below(components.len())]).collect();
        names.join("/")
    }
}

#[test]
fn the_walk_finds_what_the_kernel_finds_in_thousands_of_random_trees() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for round in 0..60 {
        let tree = Tree::new(&format!("random-{round}"));
        for _ in 0..12 {
            let at = tree.path(&numbers.path(&["a", "b", "c"]));
            match numbers.below(4) {
                0 => drop(std::fs::create_dir_all(&at)),
                1 => drop(std::fs::write(&at, "")),
                _ => {
                    let slash = if numbers.below(3) == 0 { "/" } else { "" };
                    let target = format!("{slash}{}", numbers.path(&["a", "b", "c", "..", ".", "outside"]));
                    drop(symlink(target, &at));
                }
            }
        }
        for _ in 0..40 {
            let path = numbers.path(&["a", "b", "c"]);
            assert_eq!(
                tree.walked(&path, Last::Follow),
                tree.resolved(&path, OFlags::empty()),
                "{path} in round {round}"
            );
            let kernel = tree.resolved(&path, OFlags::empty());
            let place = open(tree.root.as_fd(), &inner(&path)).map(|file| identity(&file));
            let is_root = kernel == Ok(identity(&tree.root));
            assert_eq!(place, if is_root { Err(Errno::BUSY) } else { kernel }, "{path} in round {round}");
            assert_eq!(
                tree.walked(&path, Last::NoFollow),
                tree.resolved(&path, OFlags::NOFOLLOW),
                "{path} itself in round {round}"
            );
        }
    }
}

#[test]
fn making_never_leaves_the_root_of_a_random_tree() {
    let mut numbers = Numbers(0x0123_4567_89ab_cdef);
    for round in 0..60 {
        let tree = Tree::new(&format!("making-{round}"));
        let root = std::fs::canonicalize(tree.path("")).unwrap();
        for _ in 0..8 {
            let target = numbers.path(&["a", "b", "..", "..", "outside"]);
            let slash = if numbers.below(3) == 0 { "/" } else { "" };
            // Below a real directory, or the test itself would leave the root.
            let at = tree.path(["a", "b", "a/b", "b/a"][numbers.below(4)]);
            if std::fs::canonicalize(at.parent().unwrap()).is_ok_and(|parent| parent.starts_with(&root)) {
                drop(symlink(format!("{slash}{target}"), at));
            }
            let missing = if numbers.below(2) == 0 { Missing::Directory } else { Missing::File };
            drop(tree.make(&numbers.path(&["a", "b"]), missing));
        }
        tree.assert_nothing_outside();
        assert_eq!(std::fs::read_dir(&tree.base).unwrap().count(), 2, "round {round}");
    }
}

#[test]
fn a_file_is_found_whatever_is_renamed_meanwhile() {
    let tree = Tree::new("renames");
    std::fs::create_dir(tree.path("storm")).unwrap();
    std::fs::write(tree.path("storm/file"), "").unwrap();
    tree.link(&format!("{}file", "../storm/".repeat(200)), "storm/link");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let [one, other] = ["one", "other"].map(|name| tree.base.join(name));
            std::fs::create_dir(&one).unwrap();
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                std::fs::rename(&one, &other).unwrap();
                std::fs::rename(&other, &one).unwrap();
            }
        });
        let found = (0..5000).try_for_each(|_| open_to_read(tree.root.as_fd(), c"storm/link").map(drop));
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(found, Ok(()));
    });
}
