import DataFiles
import Foundation
import HKMSClient
import ServiceKit
import Testing

/// TLS between client, gateway and evaluation unit: tried with OpenSSL's and curl's clients, which are not ours.
@Suite(.serialized) struct TransportTests {
    @Test("the main job runs over TLS, between gateway and unit with certificates on both sides")
    func mainJob() async throws {
        try await Installation.use(tls: true) { installation in
            let alice = installation.alice
            let keySet = try await alice.register(
                RegisterRequest(requestId: "r", mode: "envelope", model: "heart-disease")
            ).body.id
            let record = try RecordFile(Array(try Data(contentsOf: Installation.records))).records[0]
            let answer = try await alice.predict(
                model: "heart-disease", PredictRequest(keySet: keySet, records: [record])
            ).body
            #expect(answer.predictions.count == 1)

            for url in [installation.gatewayURL, installation.unitURL] {
                let port = url.split(separator: ":").last ?? ""
                let old = try Self.openssl(installation, String(port), "-tls1_2")
                #expect(old.status != 0 && old.text.contains("alert protocol version"), "\(old.text.suffix(400))")
                let new = try Self.openssl(installation, String(port), "-tls1_3")
                #expect(new.status == 0 && new.text.contains("Verify return code: 0 (ok)"), "\(new.text.suffix(400))")
                #expect(new.text.contains("TLSv1.3"))
                let plain = try Programs.run(
                    "/usr/bin/curl", ["-s", "--noproxy", "*", "http://localhost:\(port)/livez"])
                #expect(plain.status != 0, "plain HTTP is answered: \(plain.out)")
            }

            // Nobody without a certificate speaks to the unit, nor who has one of another authority.
            let without = try Programs.run(
                "/usr/bin/curl",
                ["-s", "--noproxy", "*", "--cacert", installation.tls("ca.pem"), installation.unitURL + "/livez"])
            #expect(without.status != 0 && without.out.isEmpty, "\(without.out)")
            try Self.makeStranger(in: installation)
            var stranger = installation.mutualTLS(as: "stranger")
            stranger += ["-s", "--noproxy", "*", installation.unitURL + "/livez"]
            #expect(try Programs.run("/usr/bin/curl", stranger).status != 0)

            // The gateway asks for no certificate here, and serves HTTP/2 to those who want it.
            let version = try installation.curl(
                "--http2", "-o", "/dev/null", "-w", "%{http_version} %{http_code}",
                installation.gatewayURL + "/v1/keysets")
            #expect(version.out == "2 200")
        }
    }

    @Test("a listener for hybrid key exchange alone takes our client and refuses OpenSSL's, which cannot do it")
    func hybrid() async throws {
        try await Installation.use(tls: true) { installation in
            try installation.edit("hkms.yaml", "  tls:\n", "  tls:\n    keyExchange: hybrid-only\n")
            installation.killGateway()
            try await installation.start(probing: false)
            let keySets = try await installation.alice.keySets().body.keySets
            #expect(keySets.isEmpty)
            let refused = try Self.openssl(installation, "\(installation.gatewayPort)", "-tls1_3")
            #expect(refused.status != 0 && refused.text.contains("handshake failure"), "\(refused.text.suffix(400))")
        }
    }

    @Test("a renewed certificate is taken without a restart, and one that does not fit its key is not")
    func reload() async throws {
        try await Installation.use(tls: true) { installation in
            try installation.edit("hkms.yaml", "  tls:\n", "  tls:\n    reloadSeconds: 1\n")
            installation.killGateway()
            try await installation.start()
            let port = "\(installation.gatewayPort)"
            let first = try Self.serial(installation, port)
            try Self.issue("renewed", uri: "spiffe://hkms/gateway/gateway-1", in: installation)
            let renewed = try Self.serial(ofFile: installation.tls("renewed.pem"))
            // The certificate alone does not fit the key that is there.
            try Self.replace(installation.tls("gateway-1.pem"), by: installation.tls("renewed.pem"))
            try await installation.log("gateway.log", says: "cannot be renewed")
            #expect(try Self.serial(installation, port) == first)
            try Self.replace(installation.tls("gateway-1.key"), by: installation.tls("renewed.key"))
            try await installation.log("gateway.log", says: "the certificate was renewed")
            #expect(try Self.serial(installation, port) == renewed)
            // The unit goes on believing the gateway, whose name has not changed.
            #expect(try await installation.alice.models().body.models.map(\.name) == ["heart-disease"])
        }
    }

    @Test("a certificate of the right authority with another's name does not make a gateway")
    func pinned() async throws {
        try await Installation.use(tls: true) { installation in
            try Self.issue("other", uri: "spiffe://hkms/gateway/gateway-2", in: installation)
            try installation.edit(
                "hkms.yaml", "      certificate: tls/gateway-1.pem", "      certificate: tls/other.pem")
            try installation.edit("hkms.yaml", "      key: tls/gateway-1.key", "      key: tls/other.key")
            installation.killGateway()
            try await installation.start()
            await expectProblem("unit-refused", status: 502) { _ = try await installation.alice.models() }
        }
    }

    @Test(
        "requests in flight are answered before a server stops, HTTP/2 included", arguments: ["--http1.1", "--http2"])
    func graceful(version: String) async throws {
        let metrics = try Installation.freePort()
        try await Installation.use(
            tls: true, lines: ["hkms.yaml": "metrics: {listen: {port: \(metrics)}}\n"]
        ) { installation in
            let token = try String(contentsOfFile: installation.tokenFile, encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/bin/sh")
            // The body ends five seconds after its beginning.
            process.arguments = [
                "-c",
                """
                { printf '{"requestId": "late", "mode": "envelope", '; sleep 5; printf '"preset": "ckks-12", "release": "raw"}'; } |
                curl -s --noproxy '*' \(version) --cacert \(installation.tls("ca.pem")) -X POST -T - \
                -H 'Content-Type: application/json' -H 'Authorization: Bearer \(token)' \
                -w '\\n%{http_version} %{http_code}' \(installation.gatewayURL)/v1/keysets
                """,
            ]
            let pipe = Pipe()
            process.standardOutput = pipe
            try process.run()
            // Until the gateway has the request's head.
            for _ in 0..<600 where process.isRunning {
                let told = try installation.curl("http://127.0.0.1:\(metrics)/metrics").out
                if told.contains("\nhkms_http_requests_in_flight 1\n") { break }
                try await Task.sleep(for: .milliseconds(50))
            }
            kill(installation.gatewayIdentifier, SIGTERM)
            let answer = String(decoding: try pipe.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
            process.waitUntilExit()
            #expect(answer.hasSuffix(version == "--http2" ? "\n2 201" : "\n1.1 201"), "\(answer.suffix(300))")
        }
    }

    @Test("plain HTTP is for development on loopback; what TLS needs is named")
    func refused() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-tls-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let hkms = try Programs.path("hkms")
        try #require(try Programs.run(hkms, ["init", folder.path, "--dev", "--tls"]).status == 0)
        let path = folder.appendingPathComponent("hkms.yaml").path
        let made = try String(contentsOfFile: path, encoding: .utf8)
        func check(_ change: (String, String)..., says message: String) throws {
            var text = made
            for (old, new) in change {
                #expect(text.contains(old), "\(old)")
                text = text.replacingOccurrences(of: old, with: new)
            }
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
            let output = try Programs.run(hkms, ["serve", "--check", "--config", path])
            #expect(output.status == 78 && output.error.contains(message), "\(output.error)")
        }
        let tls = "  tls:\n    certificate: tls/gateway-1.pem\n    key: tls/gateway-1.key\n"
        try check((tls, ""), ("host: 127.0.0.1", "host: 0.0.0.0"), says: "plain HTTP is for loopback only")
        try check(
            (tls, ""), ("development: true", "development: false"), ("lock: preferred", "lock: required"),
            says: "plain HTTP is for development: true only")
        try check(("url: https:", "url: ftp:"), says: "must be https://HOST:PORT")
        try check(("url: https://localhost", "url: http://10.1.1.1"), says: "127.0.0.1, [::1] and localhost only")
        try check((tls, tls + "    clientCertificates: required\n"), says: "needs clientAuthorities")
        try check((tls, tls + "    keyExchange: rot13\n"), says: "prefer-hybrid or hybrid-only")
        // What is in the files is looked at on start.
        try Data(made.replacingOccurrences(of: "key: tls/gateway-1.key", with: "key: tls/unit-1.key").utf8).write(
            to: URL(fileURLWithPath: path))
        let mismatch = try Programs.run(hkms, ["serve", "--config", path], seconds: 30)
        #expect(
            mismatch.status == 78 && mismatch.error.contains("the key is not that of the certificate"),
            "\(mismatch.error)")
        let unit = folder.appendingPathComponent("evaluator.yaml").path
        let text = try String(contentsOfFile: unit, encoding: .utf8)
        let open = text.replacingOccurrences(of: "clientCertificates: required", with: "clientCertificates: optional")
        try Data(open.utf8).write(to: URL(fileURLWithPath: unit))
        let refused = try Programs.run(Programs.path("hkms-evaluator"), ["serve", "--config", unit], seconds: 30)
        #expect(refused.status == 78 && refused.error.contains("must be required"), "\(refused.error)")
    }

    // MARK: OpenSSL

    private static func openssl(
        _ installation: Installation, _ port: String, _ version: String
    ) throws -> (status: Int32, text: String) {
        let output = try Programs.run(
            "/usr/bin/openssl",
            [
                "s_client", "-connect", "localhost:\(port)", version, "-CAfile", installation.tls("ca.pem"), "-cert",
                installation.tls("unit-1.pem"), "-key", installation.tls("unit-1.key"), "-verify_return_error",
            ], input: "Q\n", seconds: 20)
        return (output.status, output.out + output.error)
    }

    private static func serial(_ installation: Installation, _ port: String) throws -> String {
        let file = installation.tls("shown.pem")
        let text = try openssl(installation, port, "-tls1_3").text
        let begin = try #require(text.range(of: "-----BEGIN CERTIFICATE-----"), "\(text.prefix(500))")
        let end = try #require(text.range(of: "-----END CERTIFICATE-----\n"))
        try Data(text[begin.lowerBound..<end.upperBound].utf8).write(to: URL(fileURLWithPath: file))
        return try serial(ofFile: file)
    }

    private static func serial(ofFile path: String) throws -> String {
        let output = try Programs.run("/usr/bin/openssl", ["x509", "-noout", "-serial", "-in", path])
        try #require(output.status == 0, "\(output.error)")
        return output.out
    }

    /// A certificate of the installation's own authority.
    private static func issue(_ name: String, uri: String, in installation: Installation) throws {
        let extensions = installation.tls("\(name).cnf")
        try Data("subjectAltName=URI:\(uri),DNS:localhost,IP:127.0.0.1\n".utf8).write(
            to: URL(fileURLWithPath: extensions))
        try run(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=\(name)", "-keyout",
            installation.tls("\(name).key"), "-out", installation.tls("\(name).csr"))
        try run(
            "x509", "-req", "-in", installation.tls("\(name).csr"), "-CA", installation.tls("ca.pem"), "-CAkey",
            installation.tls("ca.key"), "-days", "1", "-extfile", extensions, "-out",
            installation.tls("\(name).pem"), "-set_serial", "\(UInt32.random(in: 1 ... .max))")
    }

    /// A certificate with the gateway's name, of an authority that nobody believes.
    private static func makeStranger(in installation: Installation) throws {
        try run(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=stranger",
            "-addext", "subjectAltName=URI:spiffe://hkms/gateway/gateway-1", "-keyout",
            installation.tls("stranger.key"), "-out", installation.tls("stranger.pem"))
    }

    private static func run(_ arguments: String...) throws {
        let output = try Programs.run("/usr/bin/openssl", arguments)
        try #require(output.status == 0, "openssl \(arguments): \(output.error)")
    }

    private static func replace(_ path: String, by other: String) throws {
        try Data(contentsOf: URL(fileURLWithPath: other)).write(to: URL(fileURLWithPath: path), options: .atomic)
    }
}

extension Installation {
    fileprivate func tls(_ name: String) -> String { folder.appendingPathComponent("tls/\(name)").path }

    /// Replaces the first `old` in a configuration file.
    fileprivate func edit(_ name: String, _ old: String, _ new: String) throws {
        let file = folder.appendingPathComponent(name)
        var text = try String(contentsOf: file, encoding: .utf8)
        let range = try #require(text.range(of: old), "\(name) lacks \(old)")
        text.replaceSubrange(range, with: new)
        try Data(text.utf8).write(to: file)
    }

    /// Waits until a log has `text` in it.
    fileprivate func log(_ name: String, says text: String) async throws {
        for _ in 0..<200 {
            let log = try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
            if log.contains(text) { return }
            try await Task.sleep(for: .milliseconds(100))
        }
        Issue.record("\(name) does not say: \(text)")
    }
}
