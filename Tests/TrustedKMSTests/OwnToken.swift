import Foundation
import Glibc
import Synchronization
import TrustedKMSPKCS11

/// A token of SoftHSM2 that one test may break.
struct OwnToken {
    let token: PKCS11TestToken
    private let folders: FolderNames
    private static let pin = "24681357"

    /// What the token is on disk, of all tokens there.
    private final class FolderNames: Sendable {
        let names = Mutex<Set<String>>([])
    }

    init(label: String = "own-\(UInt32.random(in: .min ... .max))") throws {
        token = PKCS11TestToken(module: try PKCS11TestToken.softHSM.module, label: label, pin: Self.pin)
        folders = FolderNames()
        try make()
    }

    private func make() throws {
        let before = Set(try FileManager.default.contentsOfDirectory(atPath: Self.folder))
        try Command.run(
            "softhsm2-util", "--init-token", "--free", "--label", token.label, "--pin", Self.pin, "--so-pin",
            "87654321")
        let after = Set(try FileManager.default.contentsOfDirectory(atPath: Self.folder))
        folders.names.withLock { $0 = after.subtracting(before) }
    }

    private static var folder: String {
        get throws {
            let configuration = try String(
                contentsOfFile: ProcessInfo.processInfo.environment["SOFTHSM2_CONF"] ?? "", encoding: .utf8)
            let line = configuration.split(separator: "\n").first { $0.hasPrefix("directories.tokendir") }
            guard let path = line?.split(separator: "=").last?.trimmingCharacters(in: .whitespaces) else {
                throw ConformanceFailure("SOFTHSM2_CONF names no folder")
            }
            return path
        }
    }

    /// All tokens are away, as where a disk is not mounted.
    func hide() throws {
        let folder = try Self.folder
        try FileManager.default.moveItem(atPath: folder, toPath: folder + ".away")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
    }

    func show() throws {
        let folder = try Self.folder
        try FileManager.default.removeItem(atPath: folder)
        try FileManager.default.moveItem(atPath: folder + ".away", toPath: folder)
    }

    /// The label stays, everything else is new.
    func makeAnew() throws {
        try remove()
        try make()
    }

    func remove() throws {
        for name in folders.names.withLock({ $0 }) {
            try FileManager.default.removeItem(atPath: Self.folder + "/" + name)
        }
    }
}

/// The security officer of opencryptoki's token, in a process of its own.
struct TokenOfficer {
    private let slot: String
    private let pin: String

    init() throws {
        let environment = ProcessInfo.processInfo.environment
        guard let slot = environment["HKMS_TEST_OPENCRYPTOKI_SLOT"],
            let file = environment["HKMS_TEST_OPENCRYPTOKI_OFFICER_PIN_FILE"]
        else { throw ConformanceFailure("no token of opencryptoki: run the tests with scripts/test") }
        self.slot = slot
        pin = try String(contentsOfFile: file, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Sets the user's PIN, which also unlocks the token.
    func setPIN(_ new: String) throws { try Command.run("pkcsconf", "-u", "-c", slot, "-S", pin, "-n", new) }
    func setPIN(_ token: PKCS11TestToken) throws { try setPIN(String(decoding: token.pin, as: UTF8.self)) }

    /// Whether the user's PIN is this one. A wrong one counts against the token.
    func accepts(_ user: String) throws -> Bool {
        try Command.succeeds("pkcsconf", "-p", "-c", slot, "-U", user, "-n", user)
    }
}

extension PKCS11TestToken {
    /// OpenSC's tool as the user: another program at the token.
    func tool(_ arguments: [String]) throws {
        let pin = String(decoding: pin, as: UTF8.self)
        try Command.run(
            ["pkcs11-tool", "--module", module, "--token-label", label, "--login", "--pin", "env:PIN"] + arguments,
            environment: ["PIN": pin])
    }
}

/// Programs that tests run to their end.
enum Command {
    static func run(_ arguments: String...) throws { try run(arguments) }

    static func run(_ arguments: [String], environment: [String: String] = [:]) throws {
        guard try succeeds(arguments, environment: environment) else {
            throw ConformanceFailure("\(arguments.prefix(2).joined(separator: " ")) failed")
        }
    }

    static func succeeds(_ arguments: String...) throws -> Bool { try succeeds(arguments) }

    static func succeeds(_ arguments: [String], environment: [String: String] = [:]) throws -> Bool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus == 0
    }
}

/// A token that the commands of docs/kms/pkcs11.md make, in a folder of its own.
struct ManualToken {
    private let folder: TemporaryFolder
    private let before: String
    private let uri: String
    private let pin: [UInt8]

    init() throws {
        let manual = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../docs/kms/pkcs11.md").standardizedFileURL
        let text = try String(contentsOf: manual, encoding: .utf8)
        let commands = try Self.block("sh", after: "<!-- set-up, run by PKCS11KMSTests -->", in: text)
        let yaml = try Self.block("yaml", after: "<!-- settings, read by PKCS11KMSTests -->", in: text)
        folder = try TemporaryFolder()
        // The manual's folders are the machine's.
        let local = commands.replacing("/etc/hkms", with: folder.path + "/etc").replacing(
            "/var/lib/hkms", with: folder.path + "/lib")
        let script = try folder.write("set -eu\n" + local, to: "set-up.sh")
        try Command.run("sh", script)
        let settings = yaml.replacing("/etc/hkms", with: folder.path + "/etc")
        guard
            let uri = settings.split(separator: "\n").first(where: { $0.contains("uri:") })?
                .split(separator: "\"").dropFirst().first,
            let pinFile = settings.split(separator: "\n").first(where: { $0.contains("pinFile:") })?
                .split(separator: " ").last
        else { throw ConformanceFailure("docs/kms/pkcs11.md has no uri and pinFile") }
        self.uri = String(uri)
        let attributes = try FileManager.default.attributesOfItem(atPath: String(pinFile))
        guard attributes[.posixPermissions] as? Int == 0o600 else { throw ConformanceFailure("mode of \(pinFile)") }
        pin = Array(try String(contentsOfFile: String(pinFile), encoding: .utf8).utf8).filter { $0 > 0x20 }
        before = ProcessInfo.processInfo.environment["SOFTHSM2_CONF"] ?? ""
        setenv("SOFTHSM2_CONF", folder.path + "/etc/softhsm2.conf", 1)
    }

    func connect() async throws -> PKCS11KMS { try await PKCS11TestToken.connect(uri, pin: pin) }

    func forget() { setenv("SOFTHSM2_CONF", before, 1) }

    private static func block(_ language: String, after mark: String, in text: String) throws -> String {
        guard let mark = text.range(of: mark),
            let begin = text.range(of: "```\(language)\n", range: mark.upperBound..<text.endIndex),
            let end = text.range(of: "```", range: begin.upperBound..<text.endIndex)
        else { throw ConformanceFailure("docs/kms/pkcs11.md has no \(language) behind \(mark)") }
        return String(text[begin.upperBound..<end.lowerBound])
    }
}
