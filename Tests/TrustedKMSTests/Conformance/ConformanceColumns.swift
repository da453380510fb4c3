import Testing

/// One column of docs/kms/conformance.md.
struct ConformanceColumn: Sendable, CustomTestStringConvertible {
    let name: String
    let make: @Sendable () async throws -> any ConformanceSubject

    init(_ name: String, _ make: @escaping @Sendable () async throws -> any ConformanceSubject) {
        self.name = name
        self.make = make
    }

    var testDescription: String { name }

    /// Every adapter before every kind of backend. Another adapter is one more line.
    static let all = [
        ConformanceColumn("software") { try SoftwareSubject() },
        ConformanceColumn("openbao") { try OpenBaoSubject() },
        ConformanceColumn("openbao-tls") { try OpenBaoSubject(overTLS: true) },
        ConformanceColumn("softhsm-gcm") { PKCS11Subject(try .softHSM, .gcm) },
        ConformanceColumn("softhsm-wrap") { PKCS11Subject(try .softHSM, .keyWrapPad) },
        ConformanceColumn("opencryptoki") { PKCS11Subject(try .openCryptoki, .auto) },
        ConformanceColumn("without-context") { try PoorSubject.withoutContext() },
        ConformanceColumn("without-integrity") { PoorSubject.withoutIntegrity() },
    ]
}
