import Foundation

/// A small device of its own, mounted in a temporary folder.
package final class MountedDevice {
    package let path: String
    private var ballast: String { path + "/ballast" }

    /// Why a test that needs one is left out.
    package static let need = "needs the right to mount a tmpfs (root, or CAP_SYS_ADMIN)"

    /// Whether this process may mount at all; asked by mounting.
    package static let canMount = (try? MountedDevice(mebibytes: 1)) != nil

    /// nil where mounting is not allowed.
    package init?(mebibytes: Int) throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-device-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        guard Self.run("mount", "-t", "tmpfs", "-o", "size=\(mebibytes)m", "tmpfs", path) else {
            try FileManager.default.removeItem(atPath: path)
            return nil
        }
    }

    deinit {
        _ = Self.run("umount", "-l", path)
        try? FileManager.default.removeItem(atPath: path)
    }

    /// Takes all the space but so many KiB.
    package func fill(butKiB room: Int) throws {
        let attributes = try FileManager.default.attributesOfFileSystem(forPath: path)
        guard let free = attributes[.systemFreeSize] as? NSNumber else { throw CocoaError(.fileReadUnknown) }
        try Data(count: max(0, free.intValue - room * 1024)).write(to: URL(fileURLWithPath: ballast))
    }

    package func empty() throws { try FileManager.default.removeItem(atPath: ballast) }

    /// - Parameter mode: `ro` or `rw`.
    package func remount(_ mode: String) throws {
        guard Self.run("mount", "-o", "remount,\(mode)", path) else {
            throw CocoaError(.fileWriteUnknown, userInfo: [NSDebugDescriptionErrorKey: "cannot be remounted \(mode)"])
        }
    }

    private static func run(_ arguments: String...) -> Bool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }
}
