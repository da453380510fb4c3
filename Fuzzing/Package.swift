// swift-tools-version: 6.2
import PackageDescription

// The fuzzers, apart from the main package so that nothing of it is built with a sanitizer. Its modules are links
// into ../Sources, the heavy ones reduced to the files that parse; scripts/fuzz builds and runs them.
let swiftSettings: [SwiftSetting] = [.swiftLanguageMode(.v6), .enableUpcomingFeature("ExistentialAny")]

let package = Package(
    name: "hkms-fuzzing",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.3"),
        .package(url: "https://github.com/apple/swift-http-structured-headers", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-numerics", from: "1.1.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swiftcsv/SwiftCSV", from: "0.10.0"),
    ],
    targets: [
        .target(name: "CRLWEKernels"),
        .target(name: "CSecretMemory"),
        .target(name: "LocalFiles", swiftSettings: swiftSettings),
        .target(
            name: "Observability",
            dependencies: [
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ],
            swiftSettings: swiftSettings),
        .target(name: "SecretMemory", dependencies: ["CSecretMemory"], swiftSettings: swiftSettings),
        .target(
            name: "RLWE",
            dependencies: [
                "CRLWEKernels", "SecretMemory", .product(name: "_CryptoExtras", package: "swift-crypto"),
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "ServiceKit",
            dependencies: [
                "SecretMemory", .crypto, .nioCore, .yams,
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "StructuredFieldValues", package: "swift-http-structured-headers"),
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "HomomorphicEncryption",
            dependencies: ["CRLWEKernels", "RLWE", "SecretMemory", .complexModule, .crypto, .realModule],
            swiftSettings: swiftSettings),
        .target(
            name: "DataFiles", dependencies: ["ServiceKit", .product(name: "SwiftCSV", package: "SwiftCSV")],
            swiftSettings: swiftSettings),
        .target(name: "AccessPolicy", dependencies: ["ServiceKit", .crypto], swiftSettings: swiftSettings),
        .target(
            name: "TransportSecurity",
            dependencies: [
                .product(name: "SwiftASN1", package: "swift-asn1"),
                .product(name: "X509", package: "swift-certificates"),
            ],
            swiftSettings: swiftSettings),
        .target(name: "Hummingbird", swiftSettings: swiftSettings),
        .target(name: "ServerKit", dependencies: ["Hummingbird", "ServiceKit"], swiftSettings: swiftSettings),
        .target(
            name: "SecretKeys", dependencies: ["HomomorphicEncryption", "RLWE", "SecretMemory", .crypto],
            swiftSettings: swiftSettings),
        .target(
            name: "Attestation", dependencies: ["HomomorphicEncryption", "SecretMemory", .crypto],
            swiftSettings: swiftSettings),
        .target(
            name: "EncryptedInference", dependencies: ["Attestation", "HomomorphicEncryption", "RLWE"],
            swiftSettings: swiftSettings),
        .target(
            name: "KeyManagement",
            dependencies: [
                "Attestation", "HomomorphicEncryption", "Observability", "SecretKeys", "SecretMemory", .complexModule,
                .crypto, .realModule, .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "AuditLog", dependencies: ["Attestation", "LocalFiles", "ServiceKit", .crypto],
            swiftSettings: swiftSettings),
        .target(
            name: "TrustedKMSSoftware",
            dependencies: [
                "KeyManagement", "SecretMemory", .crypto, .product(name: "CryptoExtras", package: "swift-crypto"),
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "TrustedKMSOpenBao", dependencies: ["KeyManagement", "SecretMemory", .nioCore],
            swiftSettings: swiftSettings),
        .target(
            name: "TrustedKMSPKCS11", dependencies: ["KeyManagement", "SecretMemory"], swiftSettings: swiftSettings),
        .target(
            name: "EvaluationUnit",
            dependencies: ["Attestation", "EncryptedInference", "SecretMemory", "ServerKit", "ServiceKit"],
            swiftSettings: swiftSettings),
        .target(
            name: "Gateway",
            dependencies: [
                "Attestation", "AuditLog", "EncryptedInference", "HomomorphicEncryption", "KeyManagement",
                "SecretMemory",
                "ServerKit", "ServiceKit",
            ],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "Fuzz",
            dependencies: [
                "AccessPolicy", "Attestation", "AuditLog", "DataFiles", "EncryptedInference", "EvaluationUnit",
                "Gateway",
                "HomomorphicEncryption", "KeyManagement", "Observability", "RLWE", "SecretKeys", "SecretMemory",
                "ServiceKit",
                "TransportSecurity", "TrustedKMSOpenBao", "TrustedKMSPKCS11", "TrustedKMSSoftware", .complexModule, .crypto, .nioCore,
                .product(name: "HTTPTypes", package: "swift-http-types"),
            ],
            swiftSettings: swiftSettings),
    ]
)

extension Target.Dependency {
    static var complexModule: Self { .product(name: "ComplexModule", package: "swift-numerics") }
    static var crypto: Self { .product(name: "Crypto", package: "swift-crypto") }
    static var nioCore: Self { .product(name: "NIOCore", package: "swift-nio") }
    static var realModule: Self { .product(name: "RealModule", package: "swift-numerics") }
    static var yams: Self { .product(name: "Yams", package: "Yams") }
}
