import ServiceKit
import Testing

@Suite struct CertificateCallersTests {
    private static func callers(_ entries: String) throws -> CertificateCallers {
        let document = try YAMLDocument(text: "clientCertificates:\n" + entries, name: "c.yaml")
        let callers = CertificateCallers(document.root, tenant: "clinic")
        try document.finish()
        return callers
    }

    private static func certificate(_ names: String...) -> ClientCertificate {
        ClientCertificate(names: names, thumbprint: [])
    }

    @Test("a name is one caller's, byte by byte; names of two callers are nobody's")
    func names() throws {
        let callers = try Self.callers(
            """
              - name: spiffe://test/K
                subject: k
                tenant: hospital
                groups: [b, a, b]
              - name: k.test
                subject: k
                tenant: hospital
                groups: [a, b]
              - name: spiffe://test/other
            """)
        let k = Principal(issuer: "certificate", subject: "k", tenant: "hospital", groups: ["a", "b"])
        #expect(callers.principal(of: Self.certificate("spiffe://test/K")) == k)
        #expect(callers.principal(of: Self.certificate("k.test", "unknown.test", "spiffe://test/K")) == k)
        #expect(
            callers.principal(of: Self.certificate("spiffe://test/other"))
                == Principal(issuer: "certificate", subject: "spiffe://test/other", tenant: "clinic", groups: []))
        #expect(callers.principal(of: Self.certificate("k.test", "spiffe://test/other")) == nil)
        // The sign for kelvin is the same text to Swift as the letter K, with other bytes.
        #expect("spiffe://test/\u{212A}" == "spiffe://test/K")
        for name in ["spiffe://test/\u{212A}", "spiffe://test/k", "spiffe://test/K/", "K.test", "*.test", ""] {
            #expect(callers.principal(of: Self.certificate(name)) == nil, "\(name)")
        }
        #expect(callers.principal(of: Self.certificate()) == nil)
        #expect(CertificateCallers().principal(of: Self.certificate("k.test")) == nil)
    }

    @Test(
        "names that no certificate could have, and subjects that are two callers, are refused by name",
        arguments: [
            ("  - name: \"*.test\"", "without a wildcard"), ("  - name: \"a b\"", "without a wildcard"),
            ("  - name: \"spiffe://a b\"", "without a wildcard"), ("  - name: \"\"", "name"),
            ("  - name: a.test\n  - name: a.test", "given twice"),
            ("  - name: a.test\n    groups: [\"\"]", "1 to 256 bytes"),
            ("  - name: a.test\n    subject: s\n  - name: b.test\n    subject: s\n    groups: [g]", "one subject"),
            ("  - name: a.test\n  - name: b.test\n    subject: a.test\n    tenant: t", "one subject"),
        ])
    func refused(entries: String, message: String) throws {
        #expect {
            try Self.callers(entries + "\n")
        } throws: { "\($0)".contains(message) }
    }

    @Test("a static token's subject does not read like another issuer's")
    func ambiguous() throws {
        func tokens(_ subject: String) throws {
            _ = try StaticTokenFile(
                text: "tokens:\n  - subject: \"\(subject)\"\n    tokenSHA256: \(StaticTokenFile.tokenSHA256("t"))\n",
                name: "t.yaml")
        }
        for subject in ["certificate pacs", "https://issuer.example alice"] {
            #expect(throws: ConfigurationError.self) { try tokens(subject) }
        }
        for subject in ["certificate", "certificates pacs", "alice certificate", "a b"] { try tokens(subject) }
    }
}
