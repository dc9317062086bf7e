// Architecture of a plug-in: Faust's sliders become the parameters of DPF, which makes a VST3 of it.
#include <cstring>
#include <string>

#include <faust/dsp/dsp.h>
#include <faust/gui/APIUI.h>
#include <faust/gui/UI.h>
#include <faust/gui/meta.h>

#include "DistrhoPlugin.hpp"

<<includeIntrinsic>>
<<includeclass>>

START_NAMESPACE_DISTRHO

class Pedals : public Plugin {
public:
    explicit Pedals(int count) : Plugin(count, 0, 0) {
        program_.init(int(getSampleRate()));
        program_.buildUserInterface(&sliders_);
    }

    static int count() {
        mydsp program;
        APIUI sliders;
        program.buildUserInterface(&sliders);
        return sliders.getParamsCount();
    }

protected:
    const char* getLabel() const override { return DISTRHO_PLUGIN_NAME; }
    const char* getMaker() const override { return DISTRHO_PLUGIN_BRAND; }
    const char* getLicense() const override { return ""; }
    uint32_t getVersion() const override { return d_version(1, 0, 0); }
    int64_t getUniqueId() const override { return CHAIN_ID; }

    void initParameter(uint32_t k, Parameter& knob) override {
        const std::string path = sliders_.getParamAddress(k); // "/chain/3_chorus/rate_hz"
        std::string name = path.substr(path.find('/', 1) + 1);
        const char* unit = sliders_.getMetadata(k, "unit"); // "" for a share
        const size_t end = name.rfind('_');
        if (*unit && !strncasecmp(name.c_str() + end + 1, unit, strlen(unit))) name.resize(end);
        knob.hints = kParameterIsAutomatable;
        knob.name = name.c_str();
        knob.name.replace('/', ' ').replace('_', ' ');
        knob.symbol = ("p" + std::to_string(k)).c_str();
        knob.unit = unit;
        knob.ranges = ParameterRanges(sliders_.getParamInit(k), sliders_.getParamMin(k), sliders_.getParamMax(k));
    }

    float getParameterValue(uint32_t k) const override { return const_cast<APIUI&>(sliders_).getParamValue(k); }
    void setParameterValue(uint32_t k, float value) override { sliders_.setParamValue(k, value); }
    void activate() override { program_.instanceClear(); }
    void sampleRateChanged(double rate) override {
        program_.instanceConstants(int(rate));
        program_.instanceClear();
    }

    void run(const float** from, float** to, uint32_t samples) override {
        AVOIDDENORMALS;
        program_.compute(int(samples), const_cast<float**>(from), to);
    }

private:
    mydsp program_;
    APIUI sliders_;
};

Plugin* createPlugin() { return new Pedals(Pedals::count()); }

END_NAMESPACE_DISTRHO
