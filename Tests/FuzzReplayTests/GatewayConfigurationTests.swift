import Gateway
import KeyManagement
import ServiceKit
import Testing

/// What a gateway's file means where it says nothing.
@Suite struct GatewayConfigurationTests {
    private func configuration(_ lines: String = "") throws -> GatewayConfiguration {
        let document = try YAMLDocument(
            text: """
                installation: {name: i}
                development: true
                storage: {objects: o, metadata: m.sqlite}
                \(lines)
                """, name: "hkms.yaml")
        let configuration = GatewayConfiguration(document.root, directory: "/nowhere", processors: 2)
        try document.finish()
        return configuration
    }

    @Test("secret keys stay between decryptions where the file asks for it, and nowhere else")
    func secretKeyCache() throws {
        #expect(try configuration().secretKeyCaching == nil)
        // The manual's defaults.
        let asked = try configuration("secretKeyCache: {uses: 100}").secretKeyCaching
        #expect(asked == SecretKeyCaching(age: .seconds(60), uses: 100, bytes: 4 << 20))
        let own = try configuration("secretKeyCache: {ageSeconds: 5, uses: 2, mebibytes: 1}").secretKeyCaching
        #expect(own == SecretKeyCaching(age: .seconds(5), uses: 2, bytes: 1 << 20))
    }
}
