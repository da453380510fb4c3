// swift-tools-version: 6.2
import PackageDescription

/// Programs that have secrets look no function up lazily: what does so writes registers to the stack. It also lets the
/// linker's tables be read-only.
let eagerBinding: [LinkerSetting] = [.unsafeFlags(["-Xlinker", "-z", "-Xlinker", "now"], .when(platforms: [.linux]))]

let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .treatAllWarnings(as: .error),
]

// Targets are listed by floor (docs/architecture.md): one depends on lower floors only, and names every module
// that it imports.
let package = Package(
    name: "hkms",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "hkms", targets: ["hkms"]),
        .executable(name: "hkms-evaluator", targets: ["hkms-evaluator"]),
        .library(name: "HKMSClient", targets: ["HKMSClient"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.3"),
        .package(url: "https://github.com/apple/swift-http-structured-headers", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-numerics", from: "1.1.1"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swiftcsv/SwiftCSV", from: "0.10.0"),
        .package(url: "https://github.com/vapor/jwt-kit", from: "5.7.1"),
    ],
    targets: [
        // Floor 0
        .target(name: "CPKCS11"),
        .target(name: "CRLWEKernels"),
        .target(name: "CSecretMemory"),
        .target(name: "CWipingFree"),
        .target(name: "LocalFiles", swiftSettings: swiftSettings),
        .target(
            name: "Observability", dependencies: [.coreMetrics, .logging, .tracing], swiftSettings: swiftSettings),
        .target(name: "SecretMemory", dependencies: ["CSecretMemory"], swiftSettings: swiftSettings),

        // Floor 1
        .target(
            name: "RLWE", dependencies: ["CRLWEKernels", "SecretMemory", .cryptoStreams],
            swiftSettings: swiftSettings),
        .target(
            name: "ServiceKit",
            dependencies: [
                "SecretMemory", .crypto, .httpTypes, .nioCore, .nioPosix, .structuredFieldValues, .yams,
            ],
            swiftSettings: swiftSettings),

        // Floor 2
        .target(name: "AccessPolicy", dependencies: ["ServiceKit", .crypto], swiftSettings: swiftSettings),
        .target(
            name: "TransportSecurity",
            dependencies: ["ServiceKit", .asn1, .certificateReloading, .crypto, .nioSSL, .x509],
            swiftSettings: swiftSettings),
        .target(
            name: "HomomorphicEncryption",
            dependencies: ["CRLWEKernels", "RLWE", "SecretMemory", .complexModule, .crypto, .realModule],
            swiftSettings: swiftSettings),
        .target(
            name: "HKMSClient",
            dependencies: [
                "ServiceKit", "TransportSecurity", .asyncHTTPClient, .nioCore, .nioHTTP1, .nioPosix, .nioSSL,
            ],
            swiftSettings: swiftSettings),
        .target(name: "DataFiles", dependencies: ["ServiceKit", .swiftCSV], swiftSettings: swiftSettings),
        .target(
            name: "ServerKit",
            dependencies: [
                "Observability", "ServiceKit", "TransportSecurity", .certificateReloading, .httpTypes, .hummingbird,
                .hummingbirdCore, .hummingbirdHTTP2, .hummingbirdTLS, .logging, .nioCore, .nioHTTP1, .nioHTTPTypes,
                .nioSSL, .nioTLS, .serviceLifecycle, .tracing,
            ],
            swiftSettings: swiftSettings),

        // Floor 3
        .target(
            name: "ObservabilityExport",
            dependencies: [
                "Observability", "SecretMemory", "ServerKit", "ServiceKit", "TransportSecurity", .asyncHTTPClient,
                .coreMetrics, .logging, .nioCore, .nioHTTP1, .serviceLifecycle, .tracing,
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "SecretKeys",
            dependencies: [
                "HomomorphicEncryption", "RLWE", "SecretMemory", .complexModule, .crypto, .realModule,
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "Attestation", dependencies: [.crypto, "HomomorphicEncryption", "SecretMemory"],
            swiftSettings: swiftSettings),

        // Floor 4
        .target(
            name: "EncryptedInference", dependencies: ["Attestation", "HomomorphicEncryption", "RLWE", .realModule],
            swiftSettings: swiftSettings),
        .target(
            name: "KeyManagement",
            dependencies: [
                "Attestation", "HomomorphicEncryption", "Observability", "RLWE", "SecretKeys", "SecretMemory",
                .complexModule, .crypto, .logging, .realModule,
            ],
            swiftSettings: swiftSettings),

        .target(
            name: "AuditLog", dependencies: ["Attestation", "LocalFiles", "ServiceKit", .crypto],
            swiftSettings: swiftSettings),

        // Floor 5
        .target(
            name: "AuditSinks",
            dependencies: [
                "AuditLog", "SecretMemory", .asyncHTTPClient, .nioCore, .nioHTTP1, .nioPosix, .nioSSL,
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "TrustedKMSSoftware", dependencies: ["KeyManagement", "SecretMemory", .crypto, .cryptoExtras],
            swiftSettings: swiftSettings),
        .target(
            name: "TrustedKMSOpenBao",
            dependencies: [
                "KeyManagement", "SecretMemory", "ServiceKit", "TransportSecurity", .asyncHTTPClient, .nioCore,
                .nioHTTP1,
                .nioPosix, .nioSSL,
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "TrustedKMSPKCS11",
            dependencies: ["CPKCS11", "KeyManagement", "LocalFiles", "SecretMemory", .crypto],
            swiftSettings: swiftSettings),
        .target(
            name: "IdentityOIDC",
            dependencies: [
                "ServiceKit", "TransportSecurity", .asyncHTTPClient, .jwtKit, .logging, .nioCore, .nioHTTP1,
            ],
            swiftSettings: swiftSettings),
        .target(name: "StorageFiles", dependencies: ["KeyManagement", "LocalFiles"], swiftSettings: swiftSettings),
        .target(name: "StorageSQLite", dependencies: ["KeyManagement", .grdb], swiftSettings: swiftSettings),
        .target(
            name: "EvaluationUnit",
            dependencies: [
                "Attestation", "EncryptedInference", "HomomorphicEncryption", "Observability", "RLWE", "SecretMemory",
                "ServerKit", "ServiceKit", "TransportSecurity", .crypto, .httpTypes, .hummingbird, .hummingbirdCore,
                .logging, .nioCore, .serviceLifecycle,
            ],
            swiftSettings: swiftSettings),

        // Floor 6
        .target(
            name: "Gateway",
            dependencies: [
                "AccessPolicy", "Attestation", "AuditLog", "EncryptedInference", "HomomorphicEncryption",
                "KeyManagement", "Observability", "RLWE",
                "SecretMemory", "ServerKit", "ServiceKit", "TransportSecurity", .asyncHTTPClient, .complexModule,
                .httpTypes,
                .hummingbird, .logging, .nioCore, .nioHTTP1, .nioPosix, .nioSSL, .realModule, .serviceLifecycle,
                .unixSignals,
            ],
            swiftSettings: swiftSettings),

        // Top: argument parsing and wiring alone
        .executableTarget(
            name: "hkms",
            dependencies: [
                "AccessPolicy", "Attestation", "AuditLog", "AuditSinks", "CWipingFree", "DataFiles", "Gateway",
                "HKMSClient", "HomomorphicEncryption", "IdentityOIDC", "KeyManagement", "LocalFiles", "Observability",
                "ObservabilityExport", "RLWE", "SecretKeys", "SecretMemory", "ServerKit", "ServiceKit", "StorageFiles",
                "StorageSQLite", "TransportSecurity", "TrustedKMSOpenBao", "TrustedKMSPKCS11", "TrustedKMSSoftware",
                .argumentParser, .asn1, .asyncHTTPClient, .crypto, .logging, .nioCore, .nioPosix, .nioSSL,
                .serviceLifecycle, .x509,
            ],
            swiftSettings: swiftSettings, linkerSettings: eagerBinding),
        .executableTarget(
            name: "hkms-evaluator",
            dependencies: [
                "DataFiles", "EncryptedInference", "EvaluationUnit", "Observability", "ObservabilityExport",
                "SecretMemory", "ServiceKit", "TransportSecurity", .argumentParser, .logging, .serviceLifecycle,
            ],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "hkms-demo",
            dependencies: ["DataFiles", "EncryptedInference", "HKMSClient", "ServiceKit", .argumentParser],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "hkms-bench",
            dependencies: [
                "Attestation", "CRLWEKernels", "EncryptedInference", "HomomorphicEncryption", "KeyManagement", "RLWE",
                "SecretKeys", "SecretMemory", "ServiceKit", "StorageFiles", "StorageSQLite", "TrustedKMSOpenBao",
                "TrustedKMSPKCS11", "TrustedKMSSoftware", .argumentParser, .logging,
            ],
            swiftSettings: swiftSettings),

        // Tests, one target a module or port; scripts/test starts the real servers that they need
        .target(
            name: "TestSupport",
            dependencies: [
                "HomomorphicEncryption", "RLWE", "SecretMemory", .complexModule, .crypto, .logging, .nioCore, .nioPosix,
                .realModule,
            ],
            path: "Tests/TestSupport", swiftSettings: swiftSettings),
        // Programs that tests watch from outside
        .target(name: "CMemcheck", path: "Tests/CMemcheck"),
        .executableTarget(
            name: "constant-time-subject",
            dependencies: ["CMemcheck", "HomomorphicEncryption", "RLWE", "SecretKeys", "SecretMemory"],
            path: "Tests/ConstantTimeSubject", swiftSettings: swiftSettings),
        .executableTarget(
            name: "audit-log-subject",
            dependencies: ["Attestation", "AuditLog", "SecretMemory", "ServiceKit", "TestSupport"],
            path: "Tests/AuditLogSubject", swiftSettings: swiftSettings),
        .executableTarget(
            name: "memory-scan-subject",
            dependencies: [
                "Attestation", "CWipingFree", "HomomorphicEncryption", "KeyManagement",
                "RLWE", "SecretKeys", "SecretMemory", "StorageFiles", "StorageSQLite", "TestSupport",
                "TrustedKMSOpenBao", "TrustedKMSSoftware", .logging,
            ],
            path: "Tests/MemoryScanSubject", swiftSettings: swiftSettings, linkerSettings: eagerBinding),
        .testTarget(
            name: "RLWETests", dependencies: ["CRLWEKernels", "RLWE", "SecretMemory", "TestSupport"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "HomomorphicEncryptionTests",
            dependencies: [
                "HomomorphicEncryption", "RLWE", .complexModule, .realModule,
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "SecretKeysTests",
            dependencies: [
                "CRLWEKernels", "HomomorphicEncryption", "RLWE", "SecretKeys", "SecretMemory", "TestSupport",
                .complexModule, .crypto, .realModule,
            ],
            resources: [.copy("Vectors")],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "AttestationTests",
            dependencies: ["Attestation", "HomomorphicEncryption", "SecretMemory", "TestSupport"],
            resources: [.copy("Vectors")],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "EncryptedInferenceTests",
            dependencies: [
                "Attestation", "EncryptedInference", "HomomorphicEncryption", "RLWE", "SecretKeys", "SecretMemory",
                "TestSupport", .complexModule,
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "KeyManagementTests",
            dependencies: [
                "Attestation", "HomomorphicEncryption", "KeyManagement", "RLWE",
                "SecretKeys", "SecretMemory", "StorageFiles", "StorageSQLite", "TestSupport", "TrustedKMSSoftware",
                .complexModule, .crypto, .logging,
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "TrustedKMSTests",
            dependencies: [
                "Attestation", "CPKCS11", "HomomorphicEncryption", "KeyManagement", "SecretMemory", "StorageFiles",
                "StorageSQLite", "TestSupport", "TrustedKMSOpenBao", "TrustedKMSPKCS11", "TrustedKMSSoftware",
                .asyncHTTPClient, .complexModule, .crypto, .cryptoStreams, .logging, .nioCore, .nioHTTP1, .nioPosix,
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "AuditLogTests",
            dependencies: [
                "Attestation", "AuditLog", "AuditSinks", "SecretMemory", "ServiceKit", "TestSupport", .httpTypes,
                .hummingbird, .logging, .nioCore, .nioPosix,
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "ObservabilityTests",
            dependencies: [
                "KeyManagement", "Observability", "ObservabilityExport", "SecretMemory",
                "ServerKit", "ServiceKit", "TestSupport", .coreMetrics, .httpTypes, .hummingbird,
                .hummingbirdTesting, .logging, .nioCore, .serviceLifecycle, .tracing, .yams,
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "StorageTests",
            dependencies: ["KeyManagement", "StorageFiles", "StorageSQLite", "TestSupport", .grdb],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "AccessPolicyTests",
            dependencies: ["AccessPolicy", "Attestation", "KeyManagement", "ServiceKit", "TestSupport"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "ServiceKitTests", dependencies: ["ServiceKit", "TestSupport", .crypto, .httpTypes, .nioCore],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "TransportSecurityTests",
            dependencies: ["TransportSecurity", .asn1, .crypto, .x509], swiftSettings: swiftSettings),
        .testTarget(
            name: "HKMSClientTests",
            dependencies: [
                "HKMSClient", "ServiceKit", .httpTypes, .hummingbird, .logging, .nioCore,
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "IdentityOIDCTests",
            dependencies: ["IdentityOIDC", "ServiceKit", .crypto, .hummingbird, .jwtKit, .logging, .nioCore],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "FuzzReplayTests",
            dependencies: [
                "AccessPolicy", "Attestation", "AuditLog", "DataFiles", "EncryptedInference", "EvaluationUnit",
                "Gateway",
                "HomomorphicEncryption", "KeyManagement", "Observability", "SecretMemory", "ServiceKit",
                "TransportSecurity",
                "TrustedKMSOpenBao", "TrustedKMSPKCS11", "TrustedKMSSoftware", .crypto, .httpTypes, .nioCore,
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "DataFilesTests", dependencies: ["DataFiles", "ServiceKit"], swiftSettings: swiftSettings),
        .testTarget(
            name: "EvaluationUnitTests",
            dependencies: [
                "Attestation", "EncryptedInference", "EvaluationUnit", "HomomorphicEncryption", "SecretKeys",
                "SecretMemory", "ServerKit", "ServiceKit", "TestSupport", .httpTypes, .hummingbird,
                .hummingbirdTesting, .logging, .nioCore, .serviceLifecycle,
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "SystemTests",
            dependencies: [
                "Attestation", "DataFiles", "EncryptedInference", "HKMSClient", "HomomorphicEncryption",
                "KeyManagement", "RLWE", "SecretKeys", "SecretMemory", "ServiceKit", "TestSupport",
                "StorageFiles", "StorageSQLite", "TrustedKMSOpenBao", "TrustedKMSSoftware", .complexModule, .crypto,
                .logging,
                .realModule,
            ],
            swiftSettings: swiftSettings),
    ]
)

extension Target.Dependency {
    static var argumentParser: Self { .product(name: "ArgumentParser", package: "swift-argument-parser") }
    static var asn1: Self { .product(name: "SwiftASN1", package: "swift-asn1") }
    static var asyncHTTPClient: Self { .product(name: "AsyncHTTPClient", package: "async-http-client") }
    static var certificateReloading: Self {
        .product(name: "NIOCertificateReloading", package: "swift-nio-extras")
    }
    static var complexModule: Self { .product(name: "ComplexModule", package: "swift-numerics") }
    static var coreMetrics: Self { .product(name: "CoreMetrics", package: "swift-metrics") }
    static var crypto: Self { .product(name: "Crypto", package: "swift-crypto") }
    static var cryptoExtras: Self { .product(name: "CryptoExtras", package: "swift-crypto") }
    static var cryptoStreams: Self { .product(name: "_CryptoExtras", package: "swift-crypto") }
    static var grdb: Self { .product(name: "GRDB", package: "GRDB.swift") }
    static var httpTypes: Self { .product(name: "HTTPTypes", package: "swift-http-types") }
    static var hummingbird: Self { .product(name: "Hummingbird", package: "hummingbird") }
    static var hummingbirdCore: Self { .product(name: "HummingbirdCore", package: "hummingbird") }
    static var hummingbirdHTTP2: Self { .product(name: "HummingbirdHTTP2", package: "hummingbird") }
    static var hummingbirdTLS: Self { .product(name: "HummingbirdTLS", package: "hummingbird") }
    static var hummingbirdTesting: Self { .product(name: "HummingbirdTesting", package: "hummingbird") }
    static var jwtKit: Self { .product(name: "JWTKit", package: "jwt-kit") }
    static var logging: Self { .product(name: "Logging", package: "swift-log") }
    static var nioCore: Self { .product(name: "NIOCore", package: "swift-nio") }
    static var nioHTTP1: Self { .product(name: "NIOHTTP1", package: "swift-nio") }
    static var nioHTTPTypes: Self { .product(name: "NIOHTTPTypes", package: "swift-nio-extras") }
    static var nioPosix: Self { .product(name: "NIOPosix", package: "swift-nio") }
    static var nioSSL: Self { .product(name: "NIOSSL", package: "swift-nio-ssl") }
    static var nioTLS: Self { .product(name: "NIOTLS", package: "swift-nio") }
    static var realModule: Self { .product(name: "RealModule", package: "swift-numerics") }
    static var serviceLifecycle: Self { .product(name: "ServiceLifecycle", package: "swift-service-lifecycle") }
    static var structuredFieldValues: Self {
        .product(name: "StructuredFieldValues", package: "swift-http-structured-headers")
    }
    static var swiftCSV: Self { .product(name: "SwiftCSV", package: "SwiftCSV") }
    static var tracing: Self { .product(name: "Tracing", package: "swift-distributed-tracing") }
    static var unixSignals: Self { .product(name: "UnixSignals", package: "swift-service-lifecycle") }
    static var x509: Self { .product(name: "X509", package: "swift-certificates") }
    static var yams: Self { .product(name: "Yams", package: "Yams") }
}
