import org.jetbrains.kotlin.gradle.dsl.JvmTarget

plugins { alias(libs.plugins.android.application) }

android {
    namespace = "org.attamba.sample"
    compileSdk = libs.versions.compileSdk.get().toInt()

    defaultConfig {
        applicationId = "org.attamba.sample"
        minSdk = libs.versions.minSdk.get().toInt()
        targetSdk = libs.versions.compileSdk.get().toInt()
        versionCode = 1
        versionName = "0.1.0"
    }

    buildTypes {
        release {
            isMinifyEnabled = true
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"))
        }
    }

    // The model is mapped directly from the APK.
    androidResources { noCompress += "gguf" }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

kotlin { compilerOptions { jvmTarget = JvmTarget.JVM_17 } }

// The project's bundled model, as the asset that the sample opens.
val model by
    tasks.registering(Copy::class) {
        from(rootProject.file("../models")) { include("*.gguf") }
        rename { "model.gguf" }
        into(file("src/main/assets"))
    }

tasks.named("preBuild") { dependsOn(model) }

dependencies {
    implementation(project(":attamba"))
    implementation(libs.activity)
    implementation(libs.coroutines.android)
    implementation(libs.lifecycle.runtime)
    implementation(libs.lifecycle.viewmodel)
}
