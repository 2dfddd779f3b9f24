"""The flags that trtexec knows, by version: from NVIDIA/TensorRT, samples/common/sampleOptions.cpp, at its tags."""

from __future__ import annotations

ALWAYS = """
allowGPUFallback avgRuns avgTiming consistency device directIO dumpLayerInfo dumpOutput dumpProfile dumpRefit duration
exportLayerInfo exportOutput exportProfile exportTimes exposeDMA help idleTime inputIOFormats iterations loadEngine loadInputs
maxShapes memPoolSize minShapes noBuilderCache noDataTransfers noTF32 onnx optShapes outputIOFormats percentile
persistentCacheRatio plugins preview profilingVerbosity refit safe saveEngine separateProfileRun shapes sleepTime sparsity
streams tacticSources threads timeDeserialize timeRefit timingCacheFile useCudaGraph useDLACore useManagedMemory useSpinWait
verbose warmUp
"""

BEFORE_10 = """
batch buildOnly deploy explicitBatch explicitPrecision heuristic maxBatch minTiming model nvtxMode output uff uffInput uffNHWC
workspace
"""
BEFORE_11 = """
best calib fp16 int8 layerOutputTypes layerPrecisions maxShapesCalib minShapesCalib optShapesCalib precisionConstraints
restricted
"""
FROM_8_6 = """
buildDLAStandalone builderOptimizationLevel dumpRawBindingsToFile dynamicPlugins excludeLeanRuntime hardwareCompatibilityLevel
ignoreParsedPluginLibs infStreams layerDeviceTypes leanDLLPath maxAuxStreams setPluginsToSerialize skipInference staticPlugins
tempdir tempfileControls useRuntime vc versionCompatible
"""
FROM_10 = """
allocationStrategy allowWeightStreaming dumpOptimizationProfile errorOnTimingCacheMiss getPlanVersionOnly markDebug
noCompilationCache pi pluginInstanceNorm profile runtimePlatform saveDebugTensors stripAllWeights stripWeights stronglyTyped
useProfile weightStreamingBudget
"""
ONLY_10 = "bf16 calibProfile fp8 int4 weightless"
FROM_10_13 = """
asyncFileReader distributiveIndependence dumpKernelText l2LimitForTiling markUnfusedTensorsAsDebugTensors maxTactics
monitorMemory remoteAutoTuningConfig safetyPlugins saveAllDebugTensors tilingOptimizationLevel uint8AsymmetricQuantizationDLA
"""
FROM_10_16 = "adjustForDLA cpuOnly decomposableAttentions enablePluginOverride refitFromOnnx reportCapabilityDLA"
FROM_11 = "includeDataTransfers noCudaGraph noSpinWait"
FROM_11_1 = """
accuracyAlgorithm accuracyThreshold atol continue dryRun helpBuildRoute loadRefOutputs refPair rtol saveAllEngines
setBuildRoute tuneBuildRouteFile tuneBuildRoutes tuningCacheFile tuningResultFile tuningSearch tuningTimeOut
"""


def known(version: tuple[int, ...]) -> frozenset[str]:
    """Without the dashes."""
    parts = [
        (ALWAYS, True),
        (BEFORE_10, version < (10,)),
        (BEFORE_11, version < (11,)),
        (FROM_8_6, version >= (8, 6)),
        ("fp8", (8, 6) <= version < (11,)),
        (FROM_10, version >= (10,)),
        (ONLY_10, (10,) <= version < (11,)),
        (FROM_10_13, version >= (10, 13)),
        (FROM_10_16, version >= (10, 16)),
        (FROM_11, version >= (11,)),
        (FROM_11_1, version >= (11, 1)),
    ]
    return frozenset(name for text, applies in parts if applies for name in text.split())
