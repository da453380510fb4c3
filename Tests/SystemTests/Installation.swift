import Foundation
import HKMSClient
import ServiceKit
import Synchronization
import Testing

/// The built programs and what they need; scripts/test says where they are.
enum Programs {
    static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    static func path(_ name: String) throws -> String {
        let folder = try #require(
            ProcessInfo.processInfo.environment["HKMS_TEST_BIN"], "HKMS_TEST_BIN is not set: run scripts/test")
        return folder + "/" + name
    }

    struct Output {
        let status: Int32
        let out: String
        let error: String
    }

    /// Runs a program to its end; one that has none in time is stopped, with status 124.
    static func run(
        _ program: String, _ arguments: [String], environment: [String: String] = [:], input: String? = nil,
        seconds: Int = 120
    ) throws -> Output {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/timeout")
        process.arguments = ["--kill-after=10", "\(seconds)", program] + arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let folder = FileManager.default.temporaryDirectory
        let outFile = folder.appendingPathComponent(UUID().uuidString)
        let errorFile = folder.appendingPathComponent(UUID().uuidString)
        defer { for file in [outFile, errorFile] { try? FileManager.default.removeItem(at: file) } }
        for file in [outFile, errorFile] { try Data().write(to: file) }
        process.standardOutput = try FileHandle(forWritingTo: outFile)
        process.standardError = try FileHandle(forWritingTo: errorFile)
        if let input {
            let pipe = Pipe()
            process.standardInput = pipe
            try process.run()
            try pipe.fileHandleForWriting.write(contentsOf: Data(input.utf8))
            try pipe.fileHandleForWriting.close()
        } else {
            process.standardInput = FileHandle.nullDevice
            try process.run()
        }
        process.waitUntilExit()
        return Output(
            status: process.terminationStatus, out: try String(contentsOf: outFile, encoding: .utf8),
            error: try String(contentsOf: errorFile, encoding: .utf8))
    }
}

/// A gateway and an evaluation unit as separate processes, made by `hkms init`.
final class Installation: @unchecked Sendable {
    // Sendable: `gateway` is replaced by one task at a time.
    let folder: URL
    /// Beside the folder, which `hkms init` makes.
    private let kmsToken: URL
    let gatewayPort: Int
    let unitPort: Int
    /// The name of the KMS's key that seals seeds.
    let key: String
    /// Whether client, gateway and unit speak TLS.
    let tls: Bool
    private var gateway: Process?
    private var unit: Process?
    /// Variables that gateways started from now on have besides.
    var gatewayEnvironment: [String: String] = [:]
    let alice: HKMSClient
    let bob: HKMSClient

    enum KMS: String, CaseIterable, Sendable {
        case software
        case openbao
    }

    init(
        _ kms: KMS, key: String, circuits: [URL], bodyMiB: Int?, openBaoAddress: String?, tls: Bool,
        initOptions: [String], parent: URL, lines: [String: String]
    ) async throws {
        self.tls = tls
        folder = parent.appendingPathComponent("hkms-system-\(UUID().uuidString)")
        kmsToken = folder.appendingPathExtension("kms-token")
        self.key = key
        (gatewayPort, unitPort) = (try Self.freePort(), try Self.freePort())
        var arguments = [
            "init", folder.path, "--dev", "--key", key, "--model", Self.model.path, "--gateway-port", "\(gatewayPort)",
            "--unit-port", "\(unitPort)",
        ]
        if tls { arguments.append("--tls") }
        arguments += circuits.flatMap { ["--model", $0.path] }
        if kms == .openbao {
            let environment = ProcessInfo.processInfo.environment
            let address = try #require(
                openBaoAddress ?? environment["HKMS_TEST_OPENBAO_TLS_ADDRESS"], "no OpenBao server: run scripts/test")
            let token = try #require(environment["HKMS_TEST_OPENBAO_TOKEN"])
            try Data(token.utf8).write(to: kmsToken)
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: kmsToken.path)
            arguments += [
                "--kms", "openbao", "--openbao-address", address, "--openbao-ca",
                try #require(environment["HKMS_TEST_OPENBAO_CA"]), "--openbao-token-file", kmsToken.path,
            ]
        }
        let made = try Programs.run(Programs.path("hkms"), arguments + initOptions)
        try #require(made.status == 0, "hkms init failed: \(made.error)")
        let tokens = folder.appendingPathComponent("tokens.yaml")
        let bobsToken = StaticTokenFile.generateToken()
        let bobsEntry = "  - subject: bob\n    tokenSHA256: \(StaticTokenFile.tokenSHA256(bobsToken))\n"
        try Data((String(contentsOf: tokens, encoding: .utf8) + bobsEntry).utf8).write(to: tokens)
        if let bodyMiB {
            let file = folder.appendingPathComponent("hkms.yaml")
            try Data((String(contentsOf: file, encoding: .utf8) + "limits: {bodyMiB: \(bodyMiB)}\n").utf8).write(
                to: file)
        }
        for (name, lines) in lines {
            let file = folder.appendingPathComponent(name)
            try Data((String(contentsOf: file, encoding: .utf8) + lines).utf8).write(to: file)
        }
        let token = try String(contentsOf: folder.appendingPathComponent("developer.token"), encoding: .utf8)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        let address = Self.url(tls, gatewayPort)
        let authority = tls ? folder.appendingPathComponent("tls/ca.pem").path : nil
        alice = try HKMSClient(address: address, token: token, caCertificateFile: authority)
        bob = try HKMSClient(address: address, token: bobsToken, caCertificateFile: authority)
        try await start()
    }

    /// In memory where there is a file system for it with room for 10,000 key sets; else the folder of temporary files.
    static var memory: URL {
        let files = FileManager.default
        let memory = URL(fileURLWithPath: "/dev/shm")
        let room = (try? files.attributesOfFileSystem(forPath: memory.path))?[.systemFreeSize] as? NSNumber
        let isFit = files.isWritableFile(atPath: memory.path) && (room?.int64Value ?? 0) > 4 << 30
        return isFit ? memory : files.temporaryDirectory
    }

    static let model = Programs.repository.appendingPathComponent("models/heart-disease.json")
    static let circuit = Programs.repository.appendingPathComponent("models/heart-disease-totals.json")
    static let records = Programs.repository.appendingPathComponent("models/heart-disease-made-up.csv")

    var gatewayURL: String { Self.url(tls, gatewayPort) }
    var unitURL: String { Self.url(tls, unitPort) }
    private static func url(_ tls: Bool, _ port: Int) -> String {
        tls ? "https://localhost:\(port)" : "http://127.0.0.1:\(port)"
    }
    var tokenFile: String { folder.appendingPathComponent("developer.token").path }
    func object(_ keySet: String, _ name: String) -> URL {
        folder.appendingPathComponent("objects/keysets/\(keySet)/\(name)")
    }

    /// - Parameters:
    ///   - logLevel: of the gateway; nil for the default.
    ///   - probing: whether the gateway is asked by curl until it is ready; its log tells otherwise.
    ///   - options: more of them for `hkms serve`.
    func start(logLevel: String? = nil, probing: Bool = true, options: [String] = []) async throws {
        if unit == nil {
            unit = try launch("hkms-evaluator", "evaluator.yaml", log: "unit.log")
        }
        gateway = try launch(
            "hkms", "hkms.yaml", options: (logLevel.map { ["--log-level", $0] } ?? []) + options, log: "gateway.log")
        if !probing {
            let port = folder.appendingPathComponent("gateway.log")
            let before = Self.text(port).components(separatedBy: "hkms gateway is ready").count
            for _ in 0..<600
            where gateway?.isRunning == true
                && Self.text(port).components(separatedBy: "hkms gateway is ready").count == before
            {
                try await Task.sleep(for: .milliseconds(50))
            }
            return
        }
        for (url, process, log) in [(unitURL, unit, "unit.log"), (gatewayURL, gateway, "gateway.log")] {
            var ready = false
            for _ in 0..<600 where !ready {
                if process?.isRunning == false { break }
                ready = (try? status(of: url + "/readyz")) == 200
                if !ready { try await Task.sleep(for: .milliseconds(50)) }
            }
            try #require(ready, "not ready: \(Self.text(folder.appendingPathComponent(log)))")
        }
    }

    var gatewayIdentifier: Int32 { gateway?.processIdentifier ?? 0 }

    /// Ends the gateway as a crash does.
    func killGateway() {
        guard let gateway else { return }
        kill(gateway.processIdentifier, SIGKILL)
        gateway.waitUntilExit()
        self.gateway = nil
    }

    /// Ends the gateway as an operator does.
    func endGateway() {
        gateway?.terminate()
        gateway?.waitUntilExit()
        gateway = nil
    }

    /// Ends the unit and starts it with what its configuration says now.
    /// - Parameter probing: whether to wait until it answers the gateway's certificate; else its log tells.
    func restartUnit(probing: Bool = true) async throws {
        unit?.terminate()
        unit?.waitUntilExit()
        let log = folder.appendingPathComponent("unit.log")
        let before = Self.text(log).count
        let process = try launch("hkms-evaluator", "evaluator.yaml", log: "unit.log")
        unit = process
        for _ in 0..<600 where process.isRunning {
            if probing, (try? status(of: unitURL + "/readyz")) == 200 { return }
            if !probing, Self.text(log).dropFirst(before).contains("listening on") { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        Issue.record("the unit is not ready: \(Self.text(log).suffix(500))")
    }

    func stop() async {
        for process in [gateway, unit] {
            process?.terminate()
            process?.waitUntilExit()
        }
        gateway = nil
        unit = nil
        await alice.shutdown()
        await bob.shutdown()
        for file in [folder, kmsToken] { try? FileManager.default.removeItem(at: file) }
    }

    deinit { for process in [gateway, unit] where process?.isRunning == true { process?.terminate() } }

    /// Runs `body` on an installation and stops it afterwards, whatever happens.
    /// - Parameters:
    ///   - initOptions: more of them for `hkms init`.
    ///   - parent: where the installation's folder is made.
    ///   - lines: put at the end of configuration files, by their names.
    static func use(
        _ kms: KMS = .software, key: String = "hkms-\(UUID().uuidString)", circuits: [URL] = [],
        bodyMiB: Int? = nil, openBaoAddress: String? = nil, tls: Bool = false, initOptions: [String] = [],
        parent: URL = FileManager.default.temporaryDirectory, lines: [String: String] = [:],
        _ body: (Installation) async throws -> Void
    ) async throws {
        let installation = try await Installation(
            kms, key: key, circuits: circuits, bodyMiB: bodyMiB, openBaoAddress: openBaoAddress, tls: tls,
            initOptions: initOptions, parent: parent, lines: lines)
        do {
            try await body(installation)
        } catch {
            await installation.stop()
            throw error
        }
        await installation.stop()
    }

    private func launch(
        _ program: String, _ configuration: String, options: [String] = [], log: String
    ) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try Programs.path(program))
        process.arguments = ["serve", "--config", folder.appendingPathComponent(configuration).path] + options
        if program == "hkms", !gatewayEnvironment.isEmpty {
            process.environment = ProcessInfo.processInfo.environment.merging(gatewayEnvironment) { $1 }
        }
        let file = folder.appendingPathComponent(log)
        if !FileManager.default.fileExists(atPath: file.path) {
            try Data().write(to: file)
        }
        let handle = try FileHandle(forWritingTo: file)
        try handle.seekToEnd()
        process.standardOutput = handle
        process.standardError = handle
        process.standardInput = FileHandle.nullDevice
        try process.run()
        return process
    }

    private static func text(_ file: URL) -> String { (try? String(contentsOf: file, encoding: .utf8)) ?? "" }

    private func status(of url: String) throws -> Int? {
        let output = try Programs.run(
            "/usr/bin/curl",
            ["-s", "--max-time", "5", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}", url]
                + (tls ? mutualTLS() : []))
        return Int(output.out)
    }

    /// curl's options to be the gateway towards the unit.
    func mutualTLS(as name: String = "gateway-1") -> [String] {
        let folder = folder.appendingPathComponent("tls").path
        return ["--cacert", "\(folder)/ca.pem", "--cert", "\(folder)/\(name).pem", "--key", "\(folder)/\(name).key"]
    }

    private static let given = Mutex<Set<Int>>([])

    /// A port that nobody listens on and that no other installation of this process was given.
    static func freePort() throws -> Int {
        for _ in 0..<50 {
            let output = try Programs.run(
                "/usr/bin/env",
                [
                    "python3", "-c",
                    "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])",
                ])
            if let port = Int(output.out.trimmingCharacters(in: .whitespacesAndNewlines)),
                given.withLock({ $0.insert(port).inserted })
            {
                return port
            }
        }
        throw CocoaError(.fileNoSuchFile)
    }

    func curl(_ arguments: String...) throws -> Programs.Output {
        let token = try String(contentsOfFile: tokenFile, encoding: .utf8)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        return try Programs.run(
            "/usr/bin/curl",
            ["-s", "--noproxy", "*", "-H", "Authorization: Bearer \(token)"]
                + (tls ? ["--cacert", folder.appendingPathComponent("tls/ca.pem").path] : []) + arguments)
    }
}

extension HKMSClient {
    /// The job when it is no longer open; as it is after half a minute.
    func finished(_ opened: JobInfo) async throws -> JobInfo {
        var job = opened
        for _ in 0..<600 where job.state == "open" {
            try await Task.sleep(for: .milliseconds(50))
            job = try await self.job(opened.id).body
        }
        return job
    }
}

/// Expects the gateway's problem of this name.
func expectProblem(
    _ name: String, status: Int? = nil, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () async throws -> Void
) async {
    do {
        try await body()
        Issue.record("no problem where \(name) is expected", sourceLocation: sourceLocation)
    } catch let HKMSClientError.problem(problem) {
        #expect(problem.name == name, sourceLocation: sourceLocation)
        #expect(!problem.fix.isEmpty && !problem.detail.isEmpty, sourceLocation: sourceLocation)
        if let status { #expect(problem.status == status, sourceLocation: sourceLocation) }
    } catch {
        Issue.record(error, sourceLocation: sourceLocation)
    }
}
