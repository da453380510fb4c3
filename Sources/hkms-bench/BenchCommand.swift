import ArgumentParser
import Foundation
import HomomorphicEncryption
import RLWE

/// Times the engine's operations; scripts/bench runs it, on one thread, in turn with other libraries.
@main
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hkms-bench",
        abstract: "Time every CKKS operation and measure sizes and memory; one JSON object a line.",
        discussion: """
            With --serve it waits for one command a line on standard input and answers each with one line:
              info                   parameters, kernels, memory before the first key
              run NAME COUNT [WARM]  COUNT timed repetitions after WARM untimed ones, in milliseconds
              check                  largest errors of the results, against arithmetic in the clear
              memory                 peak resident memory so far
              sizes                  bytes of keys and ciphertexts as serialized
              quit
            """,
        subcommands: [InferenceCommand.self])

    @Option(name: .long, help: "log2 of the ring degree: 13, 14 or 15; others with a spelled-out --chain.")
    var degree = 13
    @Option(
        name: .long,
        help: ArgumentHelp(
            "\(BenchmarkChain.names.joined(separator: " or ")), or bits of q / bits of p / alpha, as 50,40x7/45x2/2."))
    var chain = "equal"
    @Option(name: .long, help: "log2 of the scale.") var scaleBits = 40
    @Option(name: .long, help: "Timed repetitions of each operation.") var repetitions = 20
    @Option(name: .long, help: "At most so many seconds for each operation; 0 for no limit.") var seconds = 0.0
    @Option(name: .long, help: "Threads that one operation may take.") var threads = 1
    @Option(name: .long, help: "Comma-separated: \(Operation.names.joined(separator: ", ")); all by default.")
    var operations: String?
    @Flag(name: .long, help: "Print no sizes and errors, and run nothing for them.") var bare = false
    @Flag(name: .long, help: "Take commands on standard input.") var serve = false

    func validate() throws {
        guard repetitions > 0, seconds >= 0, seconds.isFinite, (20...60).contains(scaleBits) else {
            throw ValidationError("--repetitions is positive, --seconds is not negative, --scale-bits is in 20...60")
        }
        guard (1...1024).contains(threads) else { throw ValidationError("--threads is in 1...1024") }
        _ = try chosenOperations()
    }

    func run() throws {
        let startKiB = Machine.residentKiB
        Parallelism.width = threads
        let parameters = try BenchmarkChain.parameters(chain, logN: degree)
        let workbench = try Workbench(parameters, scaleBits: scaleBits)
        let info = Info(
            degree: parameters.degree, scaleBits: scaleBits, chain: ChainReport(parameters),
            kernels: KernelName.current, startKiB: startKiB)
        if serve {
            try Server(workbench: workbench, info: info).run()
            return
        }
        try JSONLine.write(info)
        for operation in try chosenOperations() {
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

    private func chosenOperations() throws -> [Operation] {
        guard let operations else { return Operation.allCases }
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
    let workbench: Workbench
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
    /// N.
    let degree: Int
    let scaleBits: Int
    let chain: ChainReport
    let kernels: String
    /// Resident memory before the first table and key; nil where the system does not tell.
    let startKiB: Int?
}

private struct Samples: Encodable {
    let operation: String
    /// In the order in which they were taken.
    let ms: [Double]
}
