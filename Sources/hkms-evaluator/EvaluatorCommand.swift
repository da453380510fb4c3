import ArgumentParser

@main struct EvaluatorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hkms-evaluator",
        abstract: "Evaluation unit of HKMS: computes models on encrypted data and holds no secret key of anybody.",
        discussion: """
            EXAMPLES
              hkms-evaluator new-key unit-signing.key
              hkms-evaluator models --config unit.yaml
              hkms-evaluator serve --config unit.yaml

            EXIT CODES
              0 done, 1 failed, 64 wrong usage, 78 wrong configuration (file:line on standard error)
            """,
        subcommands: [ServeCommand.self, ModelsCommand.self, PredictPlainCommand.self, NewKeyCommand.self])
}
