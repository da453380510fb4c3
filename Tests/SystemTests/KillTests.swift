import Attestation
import Foundation
import HKMSClient
import HomomorphicEncryption
import KeyManagement
import ServiceKit
import TestSupport
import Testing
import TrustedKMSSoftware

/// kill -9 at a write, also halfway through it: after a restart nothing that was acknowledged is lost, nothing is half
/// there, and the same request succeeds.
///
/// Some writes each; every one of them with HKMS_SOAK=1 in the environment.
@Suite(.serialized, .enabled(if: DoomedGateway.isPossible, "preloading a library needs Linux"))
struct KillTests {
    private static let isSoak = ProcessInfo.processInfo.environment["HKMS_SOAK"] == "1"

    /// The writes to die at, each in its manner: all in every manner, or some spread evenly, the last among them.
    private static func points(_ total: Int, some: Int) -> [(call: Int, manner: DoomedGateway.Manner)] {
        guard !isSoak else {
            return (1...total).flatMap { call in DoomedGateway.Manner.allCases.map { (call, $0) } }
        }
        return (0..<some).map { index in
            (1 + index * (total - 1) / max(1, some - 1), DoomedGateway.Manner.allCases[index % 3])
        }
    }

    private static func request(_ id: String, _ mode: String, _ scheme: Scheme = .ckks) -> RegisterRequest {
        var request =
            switch scheme {
            case .ckks: RegisterRequest(requestId: id, mode: mode, preset: "ckks-12", release: "raw")
            case .bfv: RegisterRequest(requestId: id, mode: mode, preset: "bfv-12")
            }
        request.rotations = [1]
        request.decryptionBudget = 1_000_000
        return request
    }

    /// Encrypts and decrypts.
    private static func use(_ keySet: String, _ installation: Installation, _ scheme: Scheme = .ckks) async throws {
        try await decrypt(encrypt(keySet, installation, scheme), keySet, installation)
    }

    private static func encrypt(
        _ keySet: String, _ installation: Installation, _ scheme: Scheme = .ckks
    ) async throws -> [[UInt8]] {
        switch scheme {
        case .ckks: try await installation.alice.encrypt(vectors: [.init(real: [0.5, -0.25])], keySet: keySet).body
        case .bfv: try await installation.alice.encrypt(integers: [[3, -32768]], keySet: keySet).body
        }
    }

    private static func decrypt(
        _ ciphertexts: [[UInt8]], _ keySet: String, _ installation: Installation
    ) async throws {
        let opened = try await installation.alice.decrypt(ciphertexts, keySet: keySet, count: 2).body
        switch opened.integers {
        case nil: #expect(abs(opened.vectors[0].real[1] + 0.25) < 1e-3)
        case let integers: #expect(integers == [[3, -32768]])
        }
    }

    /// Names of what is stored under a key set.
    private static func objects(_ keySet: String, _ installation: Installation) throws -> [String] {
        let folder = installation.folder.appendingPathComponent("objects/keysets/\(keySet)").path
        guard FileManager.default.fileExists(atPath: folder) else { return [] }
        return try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    }

    /// Everything that is stored belongs to a listed key set: whole where it lives, its last manifest where not.
    private static func checkObjects(_ installation: Installation, _ note: Comment) async throws {
        let list = try await installation.alice.keySets().body.keySets
        let folder = installation.folder.appendingPathComponent("objects/keysets").path
        let stored = try FileManager.default.contentsOfDirectory(atPath: folder)
        for keySet in stored where try !objects(keySet, installation).isEmpty {
            let info = try #require(
                list.first { $0.id == keySet }, "\(note.rawValue): nothing names \(keySet)")
            let names = try objects(keySet, installation)
            #expect(names.filter { $0.hasPrefix("manifest-") }.count == 1, note)
            let others =
                info.state == "destroyed" ? 0 : info.objects.count + (info.mode == "envelope" ? 2 : 1)
            #expect(names.count == others + 1, note)
        }
    }

    /// The seeds and data keys behind every sealed seed on the disk, also of what is only half there.
    private static func secrets(
        _ installation: Installation, _ kms: SoftwareKMS, mode: ProtectionMode, _ scheme: Scheme = .ckks
    ) async throws -> [[UInt8]] {
        let parameters =
            switch scheme {
            case .ckks: try #require(ParameterPreset.named("ckks-12")).parameters
            case .bfv: try #require(BFVParameterPreset.named("bfv-12")).parameters
            }
        let folder = installation.folder.appendingPathComponent("objects/keysets")
        var secrets: [[UInt8]] = []
        for keySet in try FileManager.default.contentsOfDirectory(atPath: folder.path) {
            let names = try objects(keySet, installation)
            let wanted = mode == .direct ? ["sealed-seed"] : ["sealed-seed", "sealed-data-key"]
            guard wanted.allSatisfy(names.contains) else { continue }
            let stored = try await StoredSeed(
                folder.appendingPathComponent(keySet), mode: mode, installation: "hkms", owner: "developer",
                parameters: parameters, kms: kms, key: installation.key)
            secrets += [stored.seed] + (stored.dataKey.map { [$0] } ?? [])
        }
        return secrets
    }

    /// No file of the installation holds one of these in any coding: no object, database, journal or log.
    private static func expectNoFile(
        of installation: Installation, holds secrets: [[UInt8]], _ note: Comment
    ) throws {
        #expect(!secrets.isEmpty, note)
        let scan = SecretScan(secrets)
        let names = FileManager.default.enumerator(atPath: installation.folder.path)?.compactMap { $0 as? String }
        for name in names ?? [] where !name.hasPrefix("keystore") {
            guard let bytes = try? Data(contentsOf: installation.folder.appendingPathComponent(name)) else { continue }
            #expect(!scan.finds(in: Array(bytes)), "\(note.rawValue): a secret in \(name)")
        }
    }

    @Test("a registration", arguments: [("direct", Scheme.ckks), ("envelope", .ckks), ("envelope", .bfv)])
    func register(mode: String, scheme: Scheme) async throws {
        try await DoomedGateway.use { gateway in
            let installation = gateway.installation
            let kept = try await installation.alice.register(Self.request("kept", mode, scheme)).body.id
            let ciphertexts = try await Self.encrypt(kept, installation, scheme)
            let total = try await gateway.count {
                _ = try await installation.alice.register(Self.request("counted", mode, scheme))
            }
            #expect(total > 40)
            let kms = try installation.softwareKMS()
            var secrets: [[UInt8]] = []
            for (call, manner) in Self.points(total, some: 4) {
                let note: Comment = "killed \(manner) write \(call) of \(total)"
                let request = Self.request("\(call) \(manner)", mode, scheme)
                let answer = try await gateway.die(at: call, manner) {
                    try await installation.alice.register(request).body.id
                }
                secrets += try await Self.secrets(
                    installation, kms, mode: mode == "direct" ? .direct : .envelope, scheme)
                try Self.expectNoFile(of: installation, holds: secrets, note)
                // Ten minutes later nobody is at it any more.
                try await gateway.start(later: 601)
                try await Self.decrypt(ciphertexts, kept, installation)
                for info in try await installation.alice.keySets().body.keySets
                where info.state != "destroyed" {
                    #expect(info.state == "active", note)
                    try await Self.use(info.id, installation, scheme)
                }
                let again = try await installation.alice.register(request)
                if let answer { #expect(again.body.id == answer && again.status == 200, note) }
                #expect(try await installation.alice.register(request).body.id == again.body.id, note)
                try await Self.use(again.body.id, installation, scheme)
                try await Self.checkObjects(installation, note)
                _ = try await installation.alice.destroy(keySet: again.body.id)
            }
            try await Self.checkObjects(installation, "in the end")
            try Self.expectNoFile(of: installation, holds: secrets, "in the end")
        }
    }

    @Test("a destruction")
    func destroy() async throws {
        try await DoomedGateway.use { gateway in
            let installation = gateway.installation
            func victim(_ id: String) async throws -> String {
                try await installation.alice.register(Self.request(id, "envelope")).body.id
            }
            let kept = try await victim("kept")
            let first = try await victim("counted")
            let total = try await gateway.count {
                _ = try await installation.alice.destroy(keySet: first)
            }
            #expect(total > 15)
            let kms = try installation.softwareKMS()
            for (call, manner) in Self.points(total, some: 4) {
                let note: Comment = "killed \(manner) write \(call) of \(total)"
                let keySet = try await victim("\(call) \(manner)")
                let ciphertexts = try await Self.encrypt(keySet, installation)
                let secrets = try await Self.secrets(installation, kms, mode: .envelope)
                let answer = try await gateway.die(at: call, manner) {
                    try await installation.alice.destroy(keySet: keySet).body.state
                }
                try Self.expectNoFile(of: installation, holds: secrets, note)
                try await gateway.start()
                let state = try await installation.alice.keySet(keySet).body.state
                #expect(state == "destroyed" || (state == "active" && answer == nil), note)
                // Until it is destroyed it is whole.
                if state == "active" { try await Self.decrypt(ciphertexts, keySet, installation) }
                _ = try await installation.alice.destroy(keySet: keySet)
                await expectProblem("key-set-destroyed") {
                    _ = try await installation.alice.decrypt(ciphertexts, keySet: keySet)
                }
                try await Self.checkObjects(installation, note)
                try await Self.use(kept, installation)
            }
        }
    }

    @Test("a decryption", arguments: Scheme.allCases)
    func decrypt(scheme: Scheme) async throws {
        try await DoomedGateway.use { gateway in
            let installation = gateway.installation
            let keySet = try await installation.alice.register(Self.request("kept", "direct", scheme)).body.id
            let ciphertexts = try await Self.encrypt(keySet, installation, scheme)
            let total = try await gateway.count {
                try await Self.decrypt(ciphertexts, keySet, installation)
            }
            #expect(total >= 2)
            for (call, manner) in Self.points(total, some: 2) {
                let note: Comment = "killed \(manner) write \(call) of \(total)"
                let before = try await installation.alice.keySet(keySet).body.counters
                let answer = try await gateway.die(at: call, manner) {
                    try await installation.alice.decrypt(ciphertexts, keySet: keySet).body.release.count
                }
                try await gateway.start()
                let after = try await installation.alice.keySet(keySet).body.counters
                let spent = after.decryptions - before.decryptions
                #expect(spent == 1 || (spent == 0 && answer == nil), note)
                #expect(after.decryptionsLeft == 1_000_000 - after.decryptions, note)
                #expect(after.failures == 0, note)
                try await Self.decrypt(ciphertexts, keySet, installation)
            }
        }
    }
}

/// A gateway that dies at a chosen write, by a preloaded library: Tests/Preload/kill_at_write.c.
final class DoomedGateway {
    enum Manner: Int64, CaseIterable {
        case before, after, halfway
    }

    #if os(Linux)
        static let isPossible = true
    #else
        static let isPossible = false
    #endif

    let installation: Installation
    private let library: String
    private let control: URL
    private var process: Process?
    private var clockSeconds: Int64 = 0

    private init(_ installation: Installation) throws {
        self.installation = installation
        library = installation.folder.appendingPathComponent("kill_at_write.so").path
        control = installation.folder.appendingPathComponent("kill-control")
        let source = Programs.repository.appendingPathComponent("Tests/Preload/kill_at_write.c").path
        let built = try Programs.run(
            "/usr/bin/env", ["clang", "-shared", "-fPIC", "-O2", "-o", library, source])
        try #require(built.status == 0, "clang failed: \(built.error)")
        try Data(count: 32).write(to: control)
    }

    static func use(_ body: (DoomedGateway) async throws -> Void) async throws {
        try await Installation.use { installation in
            installation.killGateway()
            let gateway = try DoomedGateway(installation)
            defer { gateway.kill() }
            try await gateway.start()
            try await body(gateway)
        }
    }

    /// - Parameter seconds: by how much later than at its last start.
    func start(later seconds: Int64 = 0) async throws {
        kill()
        clockSeconds += seconds
        try steer(target: 0, manner: .before)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try Programs.path("hkms"))
        process.arguments = [
            "serve", "--config", installation.folder.appendingPathComponent("hkms.yaml").path,
        ]
        process.environment = ProcessInfo.processInfo.environment.merging(
            ["LD_PRELOAD": library, "HKMS_KILL_CONTROL": control.path]) { $1 }
        process.standardInput = FileHandle.nullDevice
        let log = installation.folder.appendingPathComponent("doomed.log")
        if !FileManager.default.fileExists(atPath: log.path) { try Data().write(to: log) }
        let handle = try FileHandle(forWritingTo: log)
        try handle.seekToEnd()
        process.standardOutput = handle
        process.standardError = handle
        try process.run()
        self.process = process
        var isReady = false
        for _ in 0..<600 where !isReady && process.isRunning {
            isReady = (try? await installation.alice.ready().body.ready) == true
            if !isReady { try await Task.sleep(for: .milliseconds(20)) }
        }
        try #require(isReady, "not ready: \((try? String(contentsOf: log, encoding: .utf8)) ?? "")")
    }

    /// How many writes `body` makes the gateway do.
    func count(_ body: () async throws -> Void) async throws -> Int {
        try steer(target: .max, manner: .before)
        try await body()
        let count = try Data(contentsOf: control).withUnsafeBytes {
            $0.loadUnaligned(fromByteOffset: 16, as: Int64.self)
        }
        try steer(target: 0, manner: .before)
        return Int(count)
    }

    /// Lets the gateway die at a write of `body`.
    /// - Returns: what `body` gave where the answer came before the end.
    func die<Answer>(at call: Int, _ manner: Manner, _ body: () async throws -> Answer) async throws
        -> Answer?
    {
        try steer(target: Int64(call), manner: manner)
        let answer = try? await body()
        let process = try #require(process)
        // A run may make a write fewer than the one that was counted: then it ends after its answer.
        for _ in 0..<500 where process.isRunning && answer == nil {
            try await Task.sleep(for: .milliseconds(10))
        }
        if answer == nil {
            #expect(!process.isRunning && process.terminationReason == .uncaughtSignal, "it is not dead")
        }
        kill()
        return answer
    }

    private func kill() {
        guard let process else { return }
        if process.isRunning { Foundation.kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
        self.process = nil
    }

    /// Written in place: the gateway has the file mapped.
    private func steer(target: Int64, manner: Manner) throws {
        let fields = [target, manner.rawValue, 0, clockSeconds]
        let handle = try FileHandle(forWritingTo: control)
        try handle.write(contentsOf: fields.withUnsafeBytes { Data($0) })
        try handle.close()
    }
}
