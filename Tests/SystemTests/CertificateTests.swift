import Foundation
import HKMSClient
import ServiceKit
import Testing

/// Callers who are known by their certificates: who they are, and who is nobody.
@Suite(.serialized) struct CertificateTests {
    private static let callers = """
            - name: spiffe://test/pacs
              subject: pacs
              groups: [radiology]
            - name: pacs.test
              subject: pacs
              groups: [radiology]
            - name: spiffe://test/lab

        """

    @Test(
        "a certificate names its caller where there is no token; nobody's names, two callers' and bad tokens name none")
    func callers() async throws {
        try await Installation.use(tls: true) { installation in
            try installation.takeCertificates(of: Self.callers)
            installation.killGateway()
            try await installation.start()
            let authority = try TestAuthority(of: installation)
            let files = try authority.issue("pacs", "URI:spiffe://test/pacs")
            let pacs = try installation.client(files)
            let keySet = try await pacs.register(
                RegisterRequest(requestId: "r", mode: "envelope", preset: "ckks-12", release: "raw")
            ).body
            #expect(keySet.owner == .init(kind: "user", issuer: "certificate", subject: "pacs"))
            // Both names of one caller, in one certificate and alone.
            for names in ["DNS:pacs.test", "DNS:pacs.test,URI:spiffe://test/pacs,URI:spiffe://test/unknown"] {
                let same = try installation.client(try authority.issue("same", names))
                #expect(try await same.keySets().body.keySets.map(\.id) == [keySet.id])
                await same.shutdown()
            }
            let lab = try installation.client(try authority.issue("lab", "URI:spiffe://test/lab"))
            #expect(try await lab.keySets().body.keySets.isEmpty)
            await expectProblem("unknown-key-set", status: 404) { _ = try await lab.keySet(keySet.id) }

            // Where a token is sent it alone counts, a good one and a bad one.
            let token = try String(contentsOfFile: installation.tokenFile, encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            let alice = try installation.client(files, token: token)
            #expect(try await alice.keySets().body.keySets.isEmpty)
            let bad = try installation.client(files, token: "hkms_nobody")
            await expectProblem("unauthenticated", status: 401) { _ = try await bad.keySets() }
            for client in [alice, bad, pacs, lab] { await client.shutdown() }

            for names in [
                "URI:spiffe://test/nobody", "URI:spiffe://test/PACS", "URI:spiffe://test/pacs/", "DNS:PACS.test",
                "DNS:spiffe://test/pacs", "email:pacs.test", "URI:spiffe://test/pacs,URI:spiffe://test/lab",
                "DNS:*.test",
            ] {
                let nobody = try installation.client(try authority.issue("nobody", names))
                await expectProblem("unauthenticated", status: 401) { _ = try await nobody.keySets() }
                await nobody.shutdown()
            }
            // TLS itself refuses what has ended, and who has it of another authority.
            let ended = try authority.issue("ended", "URI:spiffe://test/pacs", ended: true)
            let impostor = try TestAuthority(impostorIn: installation).issue("impostor", "URI:spiffe://test/pacs")
            for files in [ended, impostor] {
                let output = try installation.curlWithCertificate(files)
                #expect(output.status != 0 && output.out == "000", "\(output.out)\(output.error)")
            }
            // The streams of HTTP/2 belong to the connection that showed the certificate.
            #expect(try installation.curlWithCertificate(files, "--http2").out == "200")
            let empty = try installation.curlWithCertificate(files, "-H", "Authorization;")
            #expect(empty.out == "401")

            let listed = try Programs.run(
                Programs.path("hkms"), ["keysets", "list", "--client-key", files.key],
                environment: [
                    "HKMS_GATEWAY": installation.gatewayURL, "HKMS_CLIENT_CERTIFICATE": files.certificate,
                    "HKMS_CA_FILE": installation.folder.appendingPathComponent("tls/ca.pem").path,
                ])
            #expect(listed.status == 0 && listed.out.contains(keySet.id), "\(listed.error)")
            let half = try Programs.run(
                Programs.path("hkms"), ["keysets", "list", "--client-key", files.key],
                environment: ["HKMS_GATEWAY": installation.gatewayURL])
            #expect(half.status == 64 && half.error.contains("Half a client certificate"), "\(half.error)")
        }
    }

    @Test("callers without authorities, twice the same name and lists without authorities are refused by name")
    func configuration() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-callers-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let hkms = try Programs.path("hkms")
        try #require(try Programs.run(hkms, ["init", folder.path, "--dev", "--tls"]).status == 0)
        let path = folder.appendingPathComponent("hkms.yaml").path
        let made = try String(contentsOfFile: path, encoding: .utf8)
        func check(tls: String = "", callers: String, says message: String?) throws {
            var text = made.replacingOccurrences(of: "  tls:\n    certificate", with: "  tls:\n\(tls)    certificate")
            text = text.replacingOccurrences(of: "identity:\n", with: "identity:\n" + callers)
            #expect(text != made)
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
            let output = try Programs.run(hkms, ["serve", "--check", "--config", path])
            if let message {
                #expect(output.status == 78 && output.error.contains(message), "\(output.error)")
            } else {
                #expect(output.status == 0, "\(output.error)")
            }
        }
        let one = "  clientCertificates:\n    - name: spiffe://a/b\n"
        let authorities = "    clientAuthorities: tls/ca.pem\n"
        try check(tls: authorities, callers: one, says: nil)
        try check(callers: one, says: "needs listen.tls.clientAuthorities")
        try check(tls: authorities, callers: one + "    - name: spiffe://a/b\n", says: "is given twice")
        try check(
            tls: authorities, callers: one + "    - {name: other.test, subject: \"spiffe://a/b\", groups: [g]}\n",
            says: "one subject is one caller")
        try check(
            tls: authorities, callers: "  clientCertificates:\n    - name: \"*.test\"\n", says: "without a wildcard")
        try check(tls: authorities, callers: "  clientCertificates:\n    - subject: a\n", says: "name")
        try check(tls: "    revocationLists: [crl.pem]\n", callers: "", says: "need clientAuthorities")
    }

    @Test("who is revoked is not answered, on open connections either; nor is anybody once a list has ended")
    func revocation() async throws {
        try await Installation.use(tls: true) { installation in
            let list = installation.folder.appendingPathComponent("tls/crl.pem").path
            let authority = try TestAuthority(of: installation)
            let (first, second) = (
                try authority.issue("first", "URI:spiffe://test/pacs"), try authority.issue("second", "DNS:pacs.test")
            )
            try authority.list(made: "20200101", at: list)
            let earlier = try Data(contentsOf: URL(fileURLWithPath: list))
            try installation.takeCertificates(of: Self.callers, revocationLists: ["tls/crl.pem"])
            installation.killGateway()
            try await installation.start()
            let revoked = try installation.client(first)
            let good = try installation.client(second)
            _ = try await revoked.keySets()

            try authority.revoke(first)
            try authority.list(made: "20200102", at: list)
            try await installation.gatewayLog(says: "the revocation list was renewed")
            for _ in 0..<2 {
                await expectProblem("unauthenticated", status: 401) { _ = try await revoked.keySets() }
            }
            // A token does not make up for a revoked certificate.
            let token = try String(contentsOfFile: installation.tokenFile, encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            let both = try installation.client(first, token: token)
            await expectProblem("unauthenticated", status: 401) { _ = try await both.keySets() }
            await both.shutdown()
            _ = try await good.keySets()
            _ = try await installation.alice.keySets()

            // Neither an older list, nor one of somebody with the authority's name, nor rubbish takes its place.
            try earlier.write(to: URL(fileURLWithPath: list), options: .atomic)
            try await installation.gatewayLog(says: "it is older than the list in force")
            try TestAuthority(impostorIn: installation).list(made: "20200103", at: list)
            try await installation.gatewayLog(says: "no authority of listen.tls.clientAuthorities has signed it")
            try Data("-----BEGIN X509 CRL-----\n".utf8).write(to: URL(fileURLWithPath: list), options: .atomic)
            try await installation.gatewayLog(says: "it is not one PEM block")
            await expectProblem("unauthenticated", status: 401) { _ = try await revoked.keySets() }
            _ = try await good.keySets()

            try authority.list(made: "20200104", ends: "20200105", at: list)
            try await installation.gatewayLog(says: "is not of this time")
            await expectProblem("unauthenticated", status: 401) { _ = try await good.keySets() }
            let ready = try await installation.alice.ready().body
            #expect(!ready.ready && ready.problems?.contains { $0.contains("crl.pem is not of this time") } == true)
            // Who shows none is not concerned.
            _ = try await installation.alice.keySets()
            try authority.list(made: "20200106", at: list)
            for _ in 0..<100 where try await installation.alice.ready().body.ready == false {
                try await Task.sleep(for: .milliseconds(100))
            }
            _ = try await good.keySets()
            await expectProblem("unauthenticated", status: 401) { _ = try await revoked.keySets() }
            await revoked.shutdown()
            await good.shutdown()

            // A list that cannot be used is no reason to go without one.
            try Data("no list".utf8).write(to: URL(fileURLWithPath: list), options: .atomic)
            let configuration = installation.folder.appendingPathComponent("hkms.yaml").path
            installation.killGateway()
            let refused = try Programs.run(Programs.path("hkms"), ["serve", "--config", configuration], seconds: 30)
            #expect(refused.status == 78 && refused.error.contains("crl.pem cannot be used"), "\(refused.error)")
        }
    }

    @Test("a unit does not answer a gateway whose certificate is revoked")
    func revokedGateway() async throws {
        try await Installation.use(tls: true) { installation in
            let authority = try TestAuthority(of: installation)
            let file = installation.folder.appendingPathComponent("evaluator.yaml")
            let yaml = try String(contentsOf: file, encoding: .utf8)
            let range = try #require(yaml.range(of: "  tls:\n"))
            try Data(
                yaml.replacingCharacters(in: range, with: "  tls:\n    revocationLists: [tls/crl.pem]\n").utf8
            ).write(to: file)
            let list = installation.folder.appendingPathComponent("tls/crl.pem").path
            try authority.list(made: "20200101", at: list)
            try await installation.restartUnit()
            installation.killGateway()
            try await installation.start()
            #expect(try await installation.alice.models().body.models.isEmpty == false)

            let own = installation.folder.appendingPathComponent("tls/gateway-1").path
            try authority.revoke(CertificateFiles(certificate: own + ".pem", key: own + ".key"))
            try authority.list(made: "20200102", at: list)
            try await installation.restartUnit(probing: false)
            installation.killGateway()
            try await installation.start(probing: false)
            await expectProblem("unit-refused", status: 502) { _ = try await installation.alice.models() }
        }
    }
}

extension Installation {
    /// What the gateway answers to curl with this certificate and no token; `000` for nothing.
    fileprivate func curlWithCertificate(_ files: CertificateFiles, _ arguments: String...) throws -> Programs.Output {
        try Programs.run(
            "/usr/bin/curl",
            [
                "-s", "--noproxy", "*", "--cacert", folder.appendingPathComponent("tls/ca.pem").path, "--cert",
                files.certificate, "--key", files.key, "-o", folder.appendingPathComponent("answer").path, "-w",
                "%{http_code}",
            ] + arguments + [gatewayURL + "/v1/keysets"])
    }

    /// Waits until the gateway's log has `text` in it.
    fileprivate func gatewayLog(says text: String) async throws {
        for _ in 0..<200 {
            let log = try String(contentsOf: folder.appendingPathComponent("gateway.log"), encoding: .utf8)
            if log.contains(text) { return }
            try await Task.sleep(for: .milliseconds(100))
        }
        Issue.record("the gateway's log does not say: \(text)")
    }
}
