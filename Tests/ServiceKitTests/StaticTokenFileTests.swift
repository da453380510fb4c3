import ServiceKit
import Testing

@Suite struct StaticTokenFileTests {
    private static let alice = StaticTokenFile.generateToken()
    private static let bob = StaticTokenFile.generateToken()
    private static let file = """
        tokens:
          - subject: alice
            tenant: hospital-a
            groups: [radiology, admins, radiology]
            tokenSHA256: \(StaticTokenFile.tokenSHA256(alice))
          - subject: bob
            tokenSHA256: \(StaticTokenFile.tokenSHA256(bob).uppercased())
        """

    private func issues(_ text: String) -> [String] {
        do {
            _ = try StaticTokenFile(text: text, name: "t.yaml")
            return []
        } catch {
            return error.issues.map(\.description)
        }
    }

    @Test func knowsItsTokensAndNoOthers() throws {
        let tokens = try StaticTokenFile(text: Self.file, name: "t.yaml")
        #expect(tokens.count == 2)
        #expect(
            tokens.authenticate(bearer: Self.alice)
                == Principal(
                    issuer: "static", subject: "alice", tenant: "hospital-a", groups: ["admins", "radiology"]))
        #expect(
            tokens.authenticate(bearer: Self.bob)
                == Principal(issuer: "static", subject: "bob", tenant: "default", groups: []))
        for other in [
            "", " ", "hkms_", Self.alice + " ", String(Self.alice.dropLast()), StaticTokenFile.generateToken(),
        ] {
            #expect(tokens.authenticate(bearer: other) == nil)
        }
        #expect(tokens.authenticate(bearer: String(repeating: "a", count: 1_000_000)) == nil)
    }

    @Test func isAnAuthenticator() async throws {
        let authenticator: any Authenticator = try StaticTokenFile(text: Self.file, name: "t.yaml")
        #expect(try await authenticator.authenticate(bearer: Self.bob, over: nil)?.subject == "bob")
    }

    @Test func digestIsThatOfTheToken() {
        #expect(
            StaticTokenFile.tokenSHA256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }

    @Test func tokensAreRandomAndUrlSafe() {
        let tokens = Set((0..<100).map { _ in StaticTokenFile.generateToken() })
        #expect(tokens.count == 100)
        for token in tokens {
            #expect(token.hasPrefix("hkms_") && token.count == 48)
            #expect(Base64URL.decode(String(token.dropFirst(5)))?.count == 32)
        }
    }

    @Test func errorsNameFileAndLine() {
        let digest = String(repeating: "ab", count: 32)
        #expect(
            issues(
                """
                tokens:
                  - subject: a
                    tokenSHA256: abc
                  - subject: ""
                    tokenSHA256: \(digest)
                    gruops: [x]
                  - subject: "b\\n"
                    tokenSHA256: \(digest)
                  - tenant: t
                """
            ) == [
                "t.yaml:3: tokens[0].tokenSHA256: is not 64 hexadecimal digits, the SHA-256 digest of a token",
                "t.yaml:4: tokens[1].subject: a name is 1 to 256 bytes without control characters",
                "t.yaml:6: tokens[1].gruops: unknown key; did you mean groups?",
                "t.yaml:7: tokens[2].subject: a name is 1 to 256 bytes without control characters",
                "t.yaml:8: tokens[2].tokenSHA256: is the digest of an earlier entry too; "
                    + "each principal has its own token",
                "t.yaml:9: tokens[3].subject: is missing; it must be text",
                "t.yaml:9: tokens[3].tokenSHA256: is missing; it must be text",
            ])
        #expect(issues("") == ["t.yaml:1: tokens: is missing; it must be a list of mappings"])
        #expect(issues("tokens: 3") == ["t.yaml:1: tokens: must be a list of mappings"])
        #expect(issues("tokens: []").isEmpty)
    }

    @Test func anyTextIsReadOrRefused() throws {
        let tokens = try StaticTokenFile(text: Self.file, name: "t.yaml")
        fuzz(20_000, seeds: [Array(Self.file.utf8)], alphabet: "tokens:subject -\n[]{}0123456789abcdef") { bytes in
            _ = try? StaticTokenFile(text: text(bytes), name: "t.yaml")
            #expect(tokens.authenticate(bearer: text(bytes)) == nil)
        }
    }

    @Test("groups are told apart byte by byte, whatever Unicode calls equivalent")
    func groups() {
        let names = ["ren\u{E9}", "a", "rene\u{301}", "a"]
        let principal = Principal(issuer: "static", subject: "s", tenant: "t", groups: names)
        #expect(principal.groups.map { Array($0.utf8) } == ["a", "rene\u{301}", "ren\u{E9}"].map { Array($0.utf8) })
    }
}
