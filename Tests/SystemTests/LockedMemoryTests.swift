import Foundation
import TestSupport
import Testing

/// Where memory cannot be locked, nothing that holds a secret starts, and the error names the limit to raise.
@Suite(.serialized) struct LockedMemoryTests {
    @Test("start is refused, with the limit, outside of development alone")
    func refused() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-lock-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let passphrase = folder.appendingPathComponent("passphrase").path
        try Data("a passphrase of a test\n".utf8).write(to: URL(fileURLWithPath: passphrase))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: passphrase)
        let made = folder.appendingPathComponent("made").path
        // An issuer is asked for its keys when a token comes.
        let initialize = [
            "--oidc-issuer", "https://issuer.invalid", "--passphrase-file", passphrase, "--model",
            Installation.model.path, "--gateway-port", "0",
        ]
        let (hkms, evaluator) = (try Programs.path("hkms"), try Programs.path("hkms-evaluator"))

        let first = try limited(to: 0, hkms, ["init", folder.appendingPathComponent("none").path] + initialize)
        #expect(first.status != 0 && first.error.contains("the limit of locked memory is 0 bytes; raise it"))
        #expect(!FileManager.default.fileExists(atPath: folder.appendingPathComponent("none/hkms.yaml").path))
        let second = try limited(to: 1 << 20, hkms, ["init", made] + initialize)
        try #require(second.status == 0, "\(second.error)")

        let configuration = made + "/hkms.yaml"
        let yaml = try String(contentsOfFile: configuration, encoding: .utf8)
        for (threads, limit) in [(1, 64 << 10), (1, (2 << 20) - 4096), (8, 8 << 20)] {
            try Data((yaml + "limits: {threads: \(threads)}\n").utf8).write(to: URL(fileURLWithPath: configuration))
            let served = try limited(to: limit, hkms, ["serve", "--config", configuration])
            #expect(served.status == 1, "\(served.error)")
            #expect(
                served.error.contains("cannot lock \(threads * (2 << 20))")
                    && served.error.contains("the limit of locked memory is \(limit) bytes; raise it (ulimit -l"),
                "\(served.error)")
        }
        let unit = try limited(to: 0, evaluator, ["serve", "--config", made + "/evaluator.yaml"])
        #expect(unit.status == 78, "\(unit.error)")
        #expect(unit.error.contains("the limit of locked memory is 0 bytes; raise it (ulimit -l"), "\(unit.error)")

        // Enough for one thread, and in development none at all: the gateway gets ready, and dumps no core.
        try Data((yaml + "limits: {threads: 1}\n").utf8).write(to: URL(fileURLWithPath: configuration))
        try becomesReady(limit: 4 << 20, configuration, in: folder)
        let development = yaml.replacingOccurrences(of: "development: false", with: "development: true")
            .replacingOccurrences(of: "lock: required", with: "lock: preferred")
        try Data(development.utf8).write(to: URL(fileURLWithPath: configuration))
        try becomesReady(limit: 0, configuration, in: folder)
        // One of both does not do.
        try Data(yaml.replacingOccurrences(of: "lock: required", with: "lock: preferred").utf8).write(
            to: URL(fileURLWithPath: configuration))
        let mixed = try Programs.run(hkms, ["serve", "--check", "--config", configuration])
        #expect(mixed.status == 78 && mixed.error.contains("development only"), "\(mixed.error)")
    }

    /// Runs a program that may lock so much memory and no more, whoever runs the test.
    private func limited(to bytes: Int, _ program: String, _ arguments: [String]) throws -> Programs.Output {
        let (command, prefix) = Self.limit(bytes)
        return try Programs.run(command, prefix + [program] + arguments, seconds: 30)
    }

    /// root's CAP_IPC_LOCK lifts the limit: it is taken away.
    static func limit(_ bytes: Int) -> (String, [String]) {
        let limit = ["prlimit", "--memlock=\(bytes):\(bytes)"]
        return Rights.include(.setCapabilities)
            ? ("/usr/bin/env", ["setpriv", "--inh-caps=-ipc_lock", "--bounding-set=-ipc_lock"] + limit)
            : ("/usr/bin/env", limit)
    }

    /// As a server runs: without root's rights, and with core dumps allowed from outside as far as they can be.
    private static func asServer(_ bytes: Int) -> (command: String, prefix: [String]) {
        let limit = ["prlimit", "--memlock=\(bytes):\(bytes)"]
        guard Rights.includeOtherUsers else { return Self.limit(bytes) }
        // The one right that is kept lets it read programs and libraries below folders of root's own.
        let right = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        return (
            "/usr/bin/env",
            limit + ["--core=unlimited:unlimited", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
                + right
        )
    }

    private func launch(limit: Int, _ program: String, _ arguments: [String]) throws -> Process {
        let process = Process()
        let (command, prefix) = Self.asServer(limit)
        process.executableURL = URL(fileURLWithPath: command)
        process.arguments = prefix + [program] + arguments
        process.standardInput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        return process
    }

    private func owner(ofMemoryOf process: Process) throws -> Int? {
        let path = "/proc/\(process.processIdentifier)/mem"
        return try FileManager.default.attributesOfItem(atPath: path)[.ownerAccountID] as? Int
    }

    private func becomesReady(limit: Int, _ configuration: String, in folder: URL) throws {
        let port = configuration + ".port"
        try? FileManager.default.removeItem(atPath: port)
        if Rights.includeOtherUsers {
            let given = try Programs.run("/usr/bin/env", ["chown", "-R", "65534:65534", folder.path])
            try #require(given.status == 0, "\(given.error)")
        }
        let process = try launch(
            limit: limit, try Programs.path("hkms"), ["serve", "--config", configuration, "--port-file", port])
        defer {
            process.terminate()
            process.waitUntilExit()
        }
        for _ in 0..<600 where process.isRunning && !FileManager.default.fileExists(atPath: port) { usleep(50_000) }
        #expect(FileManager.default.fileExists(atPath: port), "not ready with \(limit) bytes")
        let limits = try FileHandle(forReadingFrom: URL(fileURLWithPath: "/proc/\(process.processIdentifier)/limits"))
        let text = String(decoding: try limits.readToEnd() ?? Data(), as: UTF8.self)
        let core = text.split(separator: "\n").first { $0.hasPrefix("Max core file size") }
        #expect(core?.split(separator: " ").dropFirst(4).prefix(2).allSatisfy { $0 == "0" } == true, "\(core ?? "")")
        // Nothing to tell root's own process by, where root may not become another user.
        guard Rights.includeOtherUsers || geteuid() != 0 else { return }
        // What may not be dumped belongs to root in /proc, and so do its memory and environment.
        #expect(try owner(ofMemoryOf: process) == 0)
        // Another program, started in the same way, belongs to its user.
        let other = try launch(limit: limit, "sleep", ["60"])
        defer {
            // Made with SIGTERM blocked, as threads of tests have it.
            kill(other.processIdentifier, SIGKILL)
            other.waitUntilExit()
        }
        let user = Rights.includeOtherUsers ? 65534 : Int(geteuid())
        // Until it has taken the place of what starts it.
        for _ in 0..<500 where try owner(ofMemoryOf: other) != user { usleep(20_000) }
        #expect(try owner(ofMemoryOf: other) == user)
    }
}
