import ArgumentParser
import Foundation
import HomomorphicEncryption
import RLWE

/// Times the engine's operations; scripts/bench runs it, on one thread, in turn with other libraries.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "operations",
        abstract: "Time every operation of CKKS or BFV and measure sizes and memory; one JSON object a line.",
        discussion: """
            With --serve it waits for one command a line on standard input and answers each with one line:
              info                   parameters, kernels, memory before the first key
              run NAME COUNT [WARM]  COUNT timed repetitions after WARM untimed ones, in milliseconds
              check                  largest errors of the results, against arithmetic in the clear; of BFV, how many
                                     slots are wrong
              memory                 peak resident memory so far
              sizes                  bytes of keys and ciphertexts as serialized
              quit
            """)

    @Option(name: .long, help: "ckks or bfv.") var scheme = "ckks"
    @Option(
        name: .long, help: "log2 of the ring degree: 13, 14 or 15, and 12 of BFV; others with a spelled-out --chain.")
    var degree = 13
    @Option(
        name: .long,
        help: ArgumentHelp(
            "\(Self.chains(.ckks)) of CKKS, \(Self.chains(.bfv)) of BFV, or bits of q / bits of p / alpha, as "
                + "50,40x7/45x2/2; the one that is compared with all libraries by default."))
    var chain: String?
    @Option(name: .long, help: "log2 of the scale of CKKS.") var scaleBits = 40
    @Option(name: .long, help: "Timed repetitions of each operation.") var repetitions = 20
    @Option(name: .long, help: "At most so many seconds for each operation; 0 for no limit.") var seconds = 0.0
    @Option(name: .long, help: "Threads that one operation may take.") var threads = 1
    @Option(name: .long, help: "Comma-separated: \(Operation.names.joined(separator: ", ")); all by default.")
    var operations: String?
    @Flag(name: .long, help: "Print no sizes and errors, and run nothing for them.") var bare = false
    @Flag(name: .long, help: "Take commands on standard input.") var serve = false

    private static func chains(_ scheme: Scheme) -> String {
        BenchmarkChain.names(scheme).joined(separator: " or ")
    }

    func validate() throws {
        guard Self.schemes[scheme] != nil else { throw ValidationError("--scheme is ckks or bfv") }
        guard repetitions > 0, seconds >= 0, seconds.isFinite, (20...60).contains(scaleBits) else {
            throw ValidationError("--repetitions is positive, --seconds is not negative, --scale-bits is in 20...60")
        }
        guard (1...1024).contains(threads) else { throw ValidationError("--threads is in 1...1024") }
        _ = try chosenOperations()
    }

    func run() throws {
        let startKiB = Machine.residentKiB
        Parallelism.width = threads
        let scheme = Self.schemes[scheme] ?? .ckks
        let parameters = try BenchmarkChain.parameters(
            scheme, chain ?? BenchmarkChain.standard(scheme), logN: degree)
        let workbench: any Workbench =
            scheme == .bfv
            ? try BFVWorkbench(parameters) : try CKKSWorkbench(parameters, scaleBits: scaleBits)
        let info = Info(
            scheme: scheme, degree: parameters.degree, scaleBits: scheme == .ckks ? scaleBits : nil,
            plaintextModulus: scheme == .bfv ? parameters.t : nil, chain: ChainReport(parameters),
            operations: workbench.operations.map(\.rawValue), kernels: KernelName.current, startKiB: startKiB)
        if serve {
            try Server(workbench: workbench, info: info).run()
            return
        }
        try JSONLine.write(info)
        for operation in try chosenOperations() ?? workbench.operations {
            try workbench.prepare(operation)
            try workbench.perform(operation)
            try JSONLine.write(
                Samples(
                    operation: operation.rawValue,
                    ms: workbench.sample(operation, count: repetitions, seconds: seconds > 0 ? seconds : nil)))
        }
        try JSONLine.write(Machine.memory)
        if !bare {
            try JSONLine.write(workbench.sizes())
            try JSONLine.write(workbench.check())
        }
    }

    private static let schemes: [String: Scheme] = ["ckks": .ckks, "bfv": .bfv]

    private func chosenOperations() throws -> [Operation]? {
        guard let operations else { return nil }
        return try operations.split(separator: ",").map { name in
            guard let operation = Operation(rawValue: String(name)) else {
                throw ValidationError("no operation \(name); there are \(Operation.names.joined(separator: ", "))")
            }
            return operation
        }
    }
}

/// Commands on standard input, so that another program decides whose turn it is.
private struct Server {
    let workbench: any Workbench
    let info: Info

    private struct Failure: Encodable { let error: String }

    func run() throws {
        while let line = readLine() {
            do {
                guard try answer(line.split(separator: " ")) else { return }
            } catch {
                try JSONLine.write(Failure(error: "\(error)"))
            }
        }
    }

    /// - Returns: false at the end.
    private func answer(_ words: [Substring]) throws -> Bool {
        switch words.first {
        case "info": try JSONLine.write(info)
        case "run":
            guard (3...4).contains(words.count), let operation = Operation(rawValue: String(words[1])),
                let count = Int(words[2]), count > 0, let warm = words.count == 4 ? Int(words[3]) : 0, warm >= 0
            else { throw ValidationError("run NAME COUNT [WARM]") }
            try workbench.prepare(operation)
            for _ in 0..<warm { try workbench.perform(operation) }
            try JSONLine.write(
                Samples(operation: operation.rawValue, ms: workbench.sample(operation, count: count, seconds: nil)))
        case "check": try JSONLine.write(workbench.check())
        case "memory": try JSONLine.write(Machine.memory)
        case "sizes": try JSONLine.write(workbench.sizes())
        case "quit": return false
        default: throw ValidationError("info, run, check, memory, sizes or quit")
        }
        return true
    }
}

/// What the times belong to.
private struct Info: Encodable {
    let scheme: Scheme
    /// N.
    let degree: Int
    /// Of CKKS.
    let scaleBits: Int?
    /// t of BFV.
    let plaintextModulus: UInt64?
    let chain: ChainReport
    let operations: [String]
    let kernels: String
    /// Resident memory before the first table and key; nil where the system does not tell.
    let startKiB: Int?
}

private struct Samples: Encodable {
    let operation: String
    /// In the order in which they were taken.
    let ms: [Double]
}
