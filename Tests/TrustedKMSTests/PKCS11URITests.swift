import KeyManagement
import Testing
import TrustedKMSPKCS11

@Suite struct PKCS11URITests {
    @Test func attributesAreRead() throws {
        let uri = try PKCS11URI(
            "pkcs11:token=The%20token%3b;serial=0a%3D;model=m;manufacturer=M&N;slot-id=17"
                + "?module-path=/usr/lib/a%26b.so&pin-source=file:/etc/hkms/pin")
        #expect(uri.token == "The token;")
        #expect(uri.serial == "0a=")
        #expect(uri.model == "m")
        #expect(uri.manufacturer == "M&N")
        #expect(uri.slotID == 17)
        #expect(uri.modulePath == "/usr/lib/a&b.so")
        #expect(uri.pinFile == "/etc/hkms/pin")
    }

    @Test(arguments: ["/p", "file:/p", "file:///p"])
    func pinSourceIsAFile(_ source: String) throws {
        #expect(try PKCS11URI("PKCS11:serial=1?pin-source=\(source)&module-path=/m").pinFile == "/p")
    }

    @Test(arguments: [
        ("", PKCS11URIError.notPKCS11), ("pkcs11", .notPKCS11), ("http://x", .notPKCS11), ("pkcs11:", .noToken),
        ("pkcs11:model=a?module-path=/m", .noToken), ("pkcs11:token=a", .noModule), ("pkcs11:token=a?", .noModule),
        ("pkcs11:token=a?module-path=m.so", .invalid("module-path")),
        ("pkcs11:token=a;token=b?module-path=/m", .repeated("token")),
        ("pkcs11:token=a?module-path=/m&module-path=/n", .repeated("module-path")),
        ("pkcs11:token=a;object=k?module-path=/m", .unknown("object")),
        ("pkcs11:token=a?module-name=m&module-path=/m", .unknown("module-name")),
        ("pkcs11:token=a?module-path=/m&pin-value=1234", .pinInside),
        ("pkcs11:token=a;pin-value=1234?module-path=/m", .pinInside),
        ("pkcs11:token=?module-path=/m", .invalid("token")),
        ("pkcs11:token=%00?module-path=/m", .invalid("token")),
        ("pkcs11:token=%FF?module-path=/m", .invalid("token")),
        ("pkcs11:token=123456789012345678901234567890123?module-path=/m", .invalid("token")),
        ("pkcs11:serial=12345678901234567?module-path=/m", .invalid("serial")),
        ("pkcs11:slot-id=x?module-path=/m", .invalid("slot-id")),
        ("pkcs11:slot-id=99999999999999999999?module-path=/m", .invalid("slot-id")),
        ("pkcs11:token=a?module-path=/m&pin-source=|program", .invalid("pin-source")),
        ("pkcs11:token=a?module-path=/m&pin-source=http://x/p", .invalid("pin-source")),
        ("pkcs11:token=a b?module-path=/m", .malformed), ("pkcs11:token=%2?module-path=/m", .malformed),
        ("pkcs11:token=%zz?module-path=/m", .malformed), ("pkcs11:token?module-path=/m", .malformed),
        ("pkcs11:token=a;?module-path=/m", .malformed), ("pkcs11:=a?module-path=/m", .malformed),
        ("pkcs11:token=a/b?module-path=/m", .malformed), ("pkcs11:token=a?module-path=/m;x=1", .malformed),
    ])
    func everythingElseIsRefusedByName(_ text: String, _ expected: PKCS11URIError) {
        do throws(PKCS11URIError) {
            _ = try PKCS11URI(text)
            Issue.record("read: \(text)")
        } catch {
            #expect(error == expected)
            // A PIN may stand anywhere in it.
            #expect(!error.description.contains("1234"))
        }
    }

    @Test func tooLongIsRefused() {
        #expect(throws: PKCS11URIError.tooLong) {
            try PKCS11URI("pkcs11:token=a?module-path=/" + String(repeating: "m", count: 5000))
        }
    }

    /// One blob has one form, and nothing else is a blob.
    @Test func blobsHaveOneForm() throws {
        let id: [UInt8] = [0, 0, 0, 3] + [1, 2, 3, 4, 5, 6, 7, 8]
        let header = Array("HKP1".utf8) + [1, 12] + id
        let good = header + [UInt8](repeating: 9, count: 12 + 32 + 16)
        let blob = try #require(PKCS11Blob(parsing: good))
        #expect(blob.version.number == 3)
        #expect(blob.sealed == KMSSealedBlob(bytes: good, keyVersion: 3))
        var bad: [[UInt8]] = [[], header, Array(good.dropFirst()), header + [UInt8](repeating: 0, count: 28)]
        for (index, value) in [(0, 0x49), (4, 0), (4, 6), (4, 5), (5, 0), (5, 4 + 7), (5, 255), (6, 0x80), (9, 0)] {
            var altered = good
            altered[index] = UInt8(value)
            bad.append(altered)
        }
        for bytes in bad { #expect(PKCS11Blob(parsing: bytes) == nil, "\(bytes.prefix(20))") }
    }
}
