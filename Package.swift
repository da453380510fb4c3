// swift-tools-version: 6.2
import PackageDescription

// One target a module of docs/architecture.md, listed by floor: a target depends on lower floors only.
let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
]

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
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-structured-headers", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-numerics", from: "1.1.1"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swiftcsv/SwiftCSV", from: "0.10.0"),
    ],
    targets: [
        // Floor 0
        .target(name: "CRLWEKernels"),
        .target(name: "CSecretMemory"),
        .target(name: "CWipingFree"),
        .target(name: "SecretMemory", dependencies: ["CSecretMemory"], swiftSettings: swiftSettings),

        // Floor 1
        .target(
            name: "RLWE",
            dependencies: ["CRLWEKernels", "SecretMemory", .product(name: "_CryptoExtras", package: "swift-crypto")],
            swiftSettings: swiftSettings),
        .target(
            name: "ServiceKit",
            dependencies: [
                "SecretMemory",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "StructuredFieldValues", package: "swift-http-structured-headers"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: swiftSettings),

        // Floor 2
        .target(
            name: "ServerKit",
            dependencies: ["ServiceKit", "SecretMemory", .product(name: "Hummingbird", package: "hummingbird")],
            swiftSettings: swiftSettings),
        .target(
            name: "HomomorphicEncryption",
            dependencies: [
                "RLWE", "SecretMemory",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "ComplexModule", package: "swift-numerics"),
                .product(name: "RealModule", package: "swift-numerics"),
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "HKMSClient",
            dependencies: [
                "ServiceKit",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "SwiftCSV", package: "SwiftCSV"),
            ],
            swiftSettings: swiftSettings),

        // Floor 3
        .target(
            name: "SecretKeys",
            dependencies: [
                "HomomorphicEncryption", "RLWE", "SecretMemory",
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "Attestation",
            dependencies: [
                "HomomorphicEncryption", "SecretMemory", .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: swiftSettings),

        // Floor 4
        .target(
            name: "EncryptedInference", dependencies: ["HomomorphicEncryption", "Attestation"],
            swiftSettings: swiftSettings),
        .target(
            name: "KeyManagement",
            dependencies: [
                "SecretKeys", "Attestation", "HomomorphicEncryption", "SecretMemory",
                .product(name: "ComplexModule", package: "swift-numerics"),
                .product(name: "RealModule", package: "swift-numerics"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: swiftSettings),

        // Floor 5
        .target(
            name: "TrustedKMSSoftware",
            dependencies: ["KeyManagement", .product(name: "CryptoExtras", package: "swift-crypto")],
            swiftSettings: swiftSettings),
        .target(
            name: "TrustedKMSOpenBao",
            dependencies: ["KeyManagement", .product(name: "AsyncHTTPClient", package: "async-http-client")],
            swiftSettings: swiftSettings),
        .target(name: "StorageFiles", dependencies: ["KeyManagement"], swiftSettings: swiftSettings),
        .target(
            name: "StorageSQLite",
            dependencies: ["KeyManagement", .product(name: "GRDB", package: "GRDB.swift")],
            swiftSettings: swiftSettings),
        .target(
            name: "EvaluationUnit",
            dependencies: [
                "EncryptedInference", "Attestation", "ServiceKit", "ServerKit",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: swiftSettings),

        // Floor 6
        .target(
            name: "Gateway",
            dependencies: [
                "KeyManagement", "EncryptedInference", "Attestation", "ServiceKit", "ServerKit",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: swiftSettings),

        // Top: argument parsing and wiring alone
        .executableTarget(
            name: "hkms",
            dependencies: [
                "Gateway", "HKMSClient", "TrustedKMSSoftware", "TrustedKMSOpenBao", "StorageFiles", "StorageSQLite",
                "CWipingFree",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "SwiftCSV", package: "SwiftCSV"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "hkms-evaluator",
            dependencies: [
                "EvaluationUnit",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "SwiftCSV", package: "SwiftCSV"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "hkms-demo",
            dependencies: [
                "HKMSClient", "EncryptedInference", "ServiceKit",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: swiftSettings),

        // Tests: one target a module or port; real servers are started by scripts/test
        .testTarget(name: "RLWETests", dependencies: ["RLWE", "CRLWEKernels", "SecretMemory"], swiftSettings: swiftSettings),
        .testTarget(
            name: "HomomorphicEncryptionTests", dependencies: ["HomomorphicEncryption", "RLWE"], swiftSettings: swiftSettings),
        .testTarget(
            name: "SecretKeysTests", dependencies: ["SecretKeys", "HomomorphicEncryption", "RLWE", "SecretMemory"], resources: [.copy("Vectors")],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "TrustedKMSTests",
            dependencies: [
                "KeyManagement", "TrustedKMSSoftware", "TrustedKMSOpenBao",
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "StorageTests", dependencies: ["KeyManagement", "StorageFiles", "StorageSQLite"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "AttestationTests", dependencies: ["Attestation", "HomomorphicEncryption", "SecretMemory"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "EncryptedInferenceTests",
            dependencies: ["EncryptedInference", "SecretKeys", "HomomorphicEncryption", "SecretMemory"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "KeyManagementTests",
            dependencies: [
                "KeyManagement", "TrustedKMSSoftware", "StorageFiles", "StorageSQLite", "HomomorphicEncryption", "RLWE",
                "SecretMemory", "Attestation", .product(name: "ComplexModule", package: "swift-numerics"),
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "SystemTests",
            dependencies: [
                "Gateway", "EvaluationUnit", "HKMSClient", "TrustedKMSSoftware", "TrustedKMSOpenBao", "StorageFiles",
                "StorageSQLite", "EncryptedInference",
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "EvaluationUnitTests",
            dependencies: [
                "EvaluationUnit", "EncryptedInference", "Attestation", "ServiceKit", "SecretKeys",
                .product(name: "HummingbirdTesting", package: "hummingbird"),
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "HKMSClientTests",
            dependencies: ["HKMSClient", "ServiceKit", .product(name: "Hummingbird", package: "hummingbird")],
            swiftSettings: swiftSettings),
        .testTarget(name: "ServiceKitTests", dependencies: ["ServiceKit"], swiftSettings: swiftSettings),
    ]
)
