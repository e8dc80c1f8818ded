/* Compiles compute shaders with the Vulkan driver that it finds, and prints what the driver's compiler says of them.
 *
 * A line of the input is a pipeline, fields between tabs: name, file.spv, bindings of set 0 in order (`u` for a uniform
 * buffer, `s` for a storage buffer, `-` for none). A line of the output is the name and a JSON object of the driver's statistics. The
 * driver's own representations, the assembly among them, go to files `dump/NAME.WHAT`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>

#define CHECK(call) do { VkResult r_ = (call); if (r_ < 0) { fprintf(stderr, "%s: %d\n", #call, r_); exit(1); } } while (0)
#define TYPE(name) .sType = VK_STRUCTURE_TYPE_##name

static VkDevice device;

static int has(const VkExtensionProperties *all, uint32_t count, const char *name) {
    for (uint32_t i = 0; i < count; i++) if (!strcmp(all[i].extensionName, name)) return 1;
    return 0;
}

/* The first device, with the features that wgpu turns on as far as they matter here. */
static void open_device(void) {
    VkApplicationInfo app = { TYPE(APPLICATION_INFO), .apiVersion = VK_API_VERSION_1_3 };
    VkInstanceCreateInfo about = { TYPE(INSTANCE_CREATE_INFO), .pApplicationInfo = &app };
    VkInstance instance;
    VkPhysicalDevice physical;
    uint32_t one = 1;
    CHECK(vkCreateInstance(&about, NULL, &instance));
    CHECK(vkEnumeratePhysicalDevices(instance, &one, &physical));
    if (!one) { fprintf(stderr, "no device\n"); exit(1); }
    static VkExtensionProperties there[512];
    uint32_t count = 512, on = 0;
    CHECK(vkEnumerateDeviceExtensionProperties(physical, NULL, &count, there));
    static const char *wanted[] = {
        "VK_KHR_pipeline_executable_properties", "VK_EXT_robustness2", "VK_KHR_cooperative_matrix", "VK_KHR_shader_float16_int8",
        "VK_KHR_16bit_storage", "VK_KHR_vulkan_memory_model", "VK_EXT_subgroup_size_control",
    };
    const char *names[8];
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) if (has(there, count, wanted[i])) names[on++] = wanted[i];
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR tells = { TYPE(PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR) };
    VkPhysicalDeviceRobustness2FeaturesEXT robust = { TYPE(PHYSICAL_DEVICE_ROBUSTNESS_2_FEATURES_EXT) };
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrices = { TYPE(PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR) };
    VkPhysicalDeviceVulkan13Features f13 = { TYPE(PHYSICAL_DEVICE_VULKAN_1_3_FEATURES) };
    VkPhysicalDeviceVulkan12Features f12 = { TYPE(PHYSICAL_DEVICE_VULKAN_1_2_FEATURES), .pNext = &f13 };
    VkPhysicalDeviceVulkan11Features f11 = { TYPE(PHYSICAL_DEVICE_VULKAN_1_1_FEATURES), .pNext = &f12 };
    VkPhysicalDeviceFeatures2 features = { TYPE(PHYSICAL_DEVICE_FEATURES_2), .pNext = &f11 };
    void **tail = &f13.pNext;
    if (has(there, count, "VK_KHR_pipeline_executable_properties")) { *tail = &tells; tail = &tells.pNext; }
    if (has(there, count, "VK_EXT_robustness2")) { *tail = &robust; tail = &robust.pNext; }
    if (has(there, count, "VK_KHR_cooperative_matrix")) { *tail = &matrices; tail = &matrices.pNext; }
    vkGetPhysicalDeviceFeatures2(physical, &features);
    /* Metal has no robust access, and a driver that emulates it checks every load. */
    if (getenv("VKSTATS_NOT_ROBUST")) {
        features.features.robustBufferAccess = f13.robustImageAccess = VK_FALSE;
        robust.robustBufferAccess2 = robust.robustImageAccess2 = VK_FALSE;
    }
    if (!tells.pipelineExecutableInfo) { fprintf(stderr, "the driver tells no statistics\n"); exit(1); }
    uint32_t family = 0, families = 8;
    VkQueueFamilyProperties queues[8];
    vkGetPhysicalDeviceQueueFamilyProperties(physical, &families, queues);
    while (family < families && !(queues[family].queueFlags & VK_QUEUE_COMPUTE_BIT)) family++;
    float priority = 1;
    VkDeviceQueueCreateInfo queue = { TYPE(DEVICE_QUEUE_CREATE_INFO), .queueFamilyIndex = family, .queueCount = 1, .pQueuePriorities = &priority };
    VkDeviceCreateInfo info = { TYPE(DEVICE_CREATE_INFO), .pNext = &features, .queueCreateInfoCount = 1, .pQueueCreateInfos = &queue,
        .enabledExtensionCount = on, .ppEnabledExtensionNames = names };
    CHECK(vkCreateDevice(physical, &info, NULL, &device));
}

static VkShaderModule module_of(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) { fprintf(stderr, "%s: cannot be read\n", path); exit(1); }
    fseek(file, 0, SEEK_END);
    size_t size = ftell(file);
    rewind(file);
    void *code = malloc(size);
    if (fread(code, 1, size, file) != size) exit(1);
    fclose(file);
    VkShaderModuleCreateInfo info = { TYPE(SHADER_MODULE_CREATE_INFO), .codeSize = size, .pCode = code };
    VkShaderModule module;
    CHECK(vkCreateShaderModule(device, &info, NULL, &module));
    free(code);
    return module;
}

static VkPipelineLayout layout_of(const char *letters) {
    VkDescriptorSetLayoutBinding bindings[16];
    uint32_t count = 0;
    for (uint32_t i = 0; letters[i] && count < 16; i++) {
        if (letters[i] == '-') continue;
        VkDescriptorType type = letters[i] == 'u' ? VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
        bindings[count++] = (VkDescriptorSetLayoutBinding){ i, type, 1, VK_SHADER_STAGE_COMPUTE_BIT, NULL };
    }
    VkDescriptorSetLayoutCreateInfo of_set = { TYPE(DESCRIPTOR_SET_LAYOUT_CREATE_INFO), .bindingCount = count, .pBindings = bindings };
    VkDescriptorSetLayout set;
    CHECK(vkCreateDescriptorSetLayout(device, &of_set, NULL, &set));
    /* Our shaders have no push constants; llama.cpp's do. */
    VkPushConstantRange pushed = { VK_SHADER_STAGE_COMPUTE_BIT, 0, 128 };
    VkPipelineLayoutCreateInfo info = { TYPE(PIPELINE_LAYOUT_CREATE_INFO), .setLayoutCount = 1, .pSetLayouts = &set,
        .pushConstantRangeCount = 1, .pPushConstantRanges = &pushed };
    VkPipelineLayout layout;
    CHECK(vkCreatePipelineLayout(device, &info, NULL, &layout));
    return layout;
}

static void print(const VkPipelineExecutableStatisticKHR *s) {
    printf("\"%s\": ", s->name);
    switch (s->format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR: printf("%d", s->value.b32); break;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR: printf("%lld", (long long)s->value.i64); break;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR: printf("%llu", (unsigned long long)s->value.u64); break;
    default: printf("%g", s->value.f64);
    }
}

static void dump(PFN_vkGetPipelineExecutableInternalRepresentationsKHR get, const VkPipelineExecutableInfoKHR *which, const char *name) {
    VkPipelineExecutableInternalRepresentationKHR all[16] = { 0 };
    for (int i = 0; i < 16; i++) all[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR;
    uint32_t count = 16;
    get(device, which, &count, all);
    for (uint32_t i = 0; i < count; i++) all[i].pData = malloc(all[i].dataSize + 1);
    get(device, which, &count, all);
    for (uint32_t i = 0; i < count; i++) {
        char path[1024];
        snprintf(path, sizeof path, "dump/%s.%s", name, all[i].name);
        for (char *c = path + 5; *c; c++) if (*c == '/' || *c == ' ') *c = '_';
        FILE *out = fopen(path, "w");
        if (out) { fwrite(all[i].pData, 1, strnlen(all[i].pData, all[i].dataSize), out); fclose(out); }
        free(all[i].pData);
    }
}

int main(void) {
    open_device();
    PFN_vkGetPipelineExecutableStatisticsKHR get = (void *)vkGetDeviceProcAddr(device, "vkGetPipelineExecutableStatisticsKHR");
    PFN_vkGetPipelineExecutableInternalRepresentationsKHR get_text = (void *)vkGetDeviceProcAddr(device, "vkGetPipelineExecutableInternalRepresentationsKHR");
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        char *rest = line, *name = strsep(&rest, "\t"), *path = strsep(&rest, "\t"), *letters = strsep(&rest, "\n");
        if (!letters) continue;
        /* Some compilers print their code; this line tells where a pipeline's begins. */
        printf("@@ %s\n", name);
        fflush(stdout);
        VkComputePipelineCreateInfo info = { TYPE(COMPUTE_PIPELINE_CREATE_INFO), .layout = layout_of(letters),
            .flags = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR | VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR,
            .stage = { TYPE(PIPELINE_SHADER_STAGE_CREATE_INFO), .stage = VK_SHADER_STAGE_COMPUTE_BIT, .module = module_of(path), .pName = "main",
                .flags = VK_PIPELINE_SHADER_STAGE_CREATE_ALLOW_VARYING_SUBGROUP_SIZE_BIT } };
        VkPipeline pipeline;
        if (vkCreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, NULL, &pipeline)) {
            printf("=> %s\t{\"refused\": 1}\n", name);
            continue;
        }
        VkPipelineExecutableInfoKHR which = { TYPE(PIPELINE_EXECUTABLE_INFO_KHR), .pipeline = pipeline };
        VkPipelineExecutableStatisticKHR found[64] = { 0 };
        for (int i = 0; i < 64; i++) found[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
        uint32_t count = 64;
        get(device, &which, &count, found);
        printf("=> %s\t{", name);
        for (uint32_t i = 0; i < count; i++) { if (i) printf(", "); print(&found[i]); }
        printf("}\n");
        dump(get_text, &which, name);
        vkDestroyPipeline(device, pipeline, NULL);
        fflush(stdout);
    }
    return 0;
}
