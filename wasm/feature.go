package wasm

// Names of features beyond the first version of WebAssembly, as Module.Features gives them and as
// toolchains write them.
const (
	FeatureSIMD           = "simd128"
	FeatureRelaxedSIMD    = "relaxed-simd"
	FeatureBulkMemory     = "bulk-memory"
	FeatureSignExt        = "sign-ext"
	FeatureMutableGlobals = "mutable-globals"
	FeatureTruncSat       = "nontrapping-fptoint"
	FeatureMultiValue     = "multi-value"
	FeatureRefTypes       = "reference-types"
	FeatureTailCall       = "tail-call"
	FeatureThreads        = "threads"
	FeatureExtendedConst  = "extended-const"
	FeatureMultiMemory    = "multi-memory"
)
