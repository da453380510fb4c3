import KeyManagement
import LocalFiles

/// Objects as files below one directory of a local file system; a key is the path of its file.
///
/// An object is written to a temporary file, synced and renamed, and every directory on its way is
/// synced after it. Any number of processes may share the directory. A cancelled task's operation
/// runs to its end. A `put` that throws may still have stored its object if what failed was the
/// last sync.
///
/// Beyond the port: a segment of a key holds at most 255 bytes, and no key may be a folder of another
/// (`a` beside `a/b`); `put` throws `unavailable` for both. It also does for a symbolic link among
/// the directories, and `get` for one in the place of an object: links are never followed.
public final class FileObjectStore: ObjectStore {
    private let tree: ObjectTree
    private let pool: BlockingPool

    /// Opens the store, creating the directory and its parents (mode 0700) where missing, and removes
    /// temporary files that a crash left more than an hour ago. Blocks for a few file operations.
    ///
    /// - Parameters:
    ///   - directory: path of the root; it belongs to the store alone.
    ///   - concurrency: file operations at a time, 1 or more.
    /// - Throws: `unavailable` if the directory cannot be made or written to.
    public init(directory: String, concurrency: Int = 8) throws(ObjectStoreError) {
        tree = try ObjectTree(root: directory)
        pool = BlockingPool(label: "hkms.object-store", width: max(1, concurrency))
    }

    public func put(_ bytes: [UInt8], at key: ObjectKey, onlyIfAbsent: Bool) async throws(ObjectStoreError) {
        try await pool.run { [tree] () throws(ObjectStoreError) in
            try tree.put(bytes, at: key, onlyIfAbsent: onlyIfAbsent)
        }
    }

    public func get(_ key: ObjectKey, limit: Int) async throws(ObjectStoreError) -> [UInt8] {
        try await pool.run { [tree] () throws(ObjectStoreError) in
            try tree.get(key, limit: limit)
        }
    }

    public func delete(_ key: ObjectKey) async throws(ObjectStoreError) {
        try await pool.run { [tree] () throws(ObjectStoreError) in
            try tree.delete(key)
        }
    }

    public func list(prefix: String) async throws(ObjectStoreError) -> [ObjectKey] {
        try await pool.run { [tree] () throws(ObjectStoreError) in
            try tree.list(prefix: prefix)
        }
    }

    public func checkHealth() async throws(ObjectStoreError) {
        try await pool.run { [tree] () throws(ObjectStoreError) in
            try tree.probe()
        }
    }
}
