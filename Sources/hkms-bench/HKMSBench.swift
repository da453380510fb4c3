import ArgumentParser

/// Has no options of its own: a parser gives one that two commands have to the outer of them.
@main
struct HKMSBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hkms-bench",
        abstract: "Time the engine; scripts/bench runs it in turn with other libraries.",
        subcommands: [BenchCommand.self, InferenceCommand.self, KMSCommand.self],
        defaultSubcommand: BenchCommand.self)
}
