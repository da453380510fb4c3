import Foundation

/// A disk of its own, an image with ext4, whose file system Linux makes read-only under open files, as it does after
/// an error of a real disk. A mount that files are open on for writing cannot be remounted so.
package final class FailingDisk {
    package let path: String
    private let image: String

    /// Why a test that needs one is left out.
    package static let need = "needs the right to mount an ext4 image (root)"

    /// Whether this process may mount at all; asked by mounting.
    package static let canMount = (try? FailingDisk()) ?? nil != nil

    /// nil where mounting is not allowed, or where there is no ext4 or no loop device.
    package init?() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-disk-\(UUID().uuidString)").path
        image = path + ".img"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        guard FileManager.default.createFile(atPath: image, contents: nil),
            Self.run("truncate", "-s", "16m", image), Self.run("mkfs.ext4", "-q", image),
            Self.run("mount", "-o", "loop,errors=remount-ro", image, path), try trigger() != nil
        else {
            try? FileManager.default.removeItem(atPath: image)
            _ = Self.run("umount", "-l", path)
            try FileManager.default.removeItem(atPath: path)
            return nil
        }
    }

    deinit {
        _ = Self.run("umount", "-l", path)
        try? FileManager.default.removeItem(atPath: path)
        try? FileManager.default.removeItem(atPath: image)
    }

    /// From now on nothing is written.
    package func fail() throws {
        guard let trigger = try trigger() else { throw CocoaError(.fileNoSuchFile) }
        try Data("1".utf8).write(to: URL(fileURLWithPath: trigger))
    }

    /// The file of the kernel that makes the file system find an error.
    private func trigger() throws -> String? {
        let mounts = try String(contentsOfFile: "/proc/mounts", encoding: .utf8).split(separator: "\n")
        guard let device = mounts.map({ $0.split(separator: " ") }).first(where: { $0.count > 1 && $0[1] == path })?[0]
        else { return nil }
        let file = "/sys/fs/ext4/\(device.split(separator: "/").last ?? "")/trigger_fs_error"
        return FileManager.default.fileExists(atPath: file) ? file : nil
    }

    private static func run(_ arguments: String...) -> Bool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.standardError = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }
}
