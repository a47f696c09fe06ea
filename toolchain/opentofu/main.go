// A provider that knows the recorded schema of another one, and no server: for the tests of terraform/ where the real
// providers cannot be had. OpenTofu judges a module by the schema as it would with the real one. An apply writes the
// planned values to the state, with made-up ids, and changes nothing else.
//
// It is called as the provider that it stands in for, terraform-provider-NAME, and reads schema.json beside itself: the
// form of `tofu providers schema -json`.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

type attribute struct {
	Type      json.RawMessage
	Required  bool
	Optional  bool
	Computed  bool
	Sensitive bool
}

type nested struct {
	NestingMode string `json:"nesting_mode"`
	MinItems    int64  `json:"min_items"`
	MaxItems    int64  `json:"max_items"`
	Block       block
}

type block struct {
	Attributes map[string]attribute
	BlockTypes map[string]nested `json:"block_types"`
}

type schema struct{ Block block }

type provider struct {
	tfprotov5.ProviderServer // what OpenTofu does not call for a module without data sources and functions
	own                      *tfprotov5.Schema
	resources                map[string]*tfprotov5.Schema
}

var nesting = map[string]tfprotov5.SchemaNestedBlockNestingMode{
	"single": tfprotov5.SchemaNestedBlockNestingModeSingle,
	"list":   tfprotov5.SchemaNestedBlockNestingModeList,
	"set":    tfprotov5.SchemaNestedBlockNestingModeSet,
}

func main() {
	program, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	name := strings.Split(strings.TrimPrefix(filepath.Base(os.Args[0]), "terraform-provider-"), "_")[0]
	source := "registry.opentofu.org/hashicorp/" + name
	recorded, err := read(filepath.Join(filepath.Dir(os.Args[0]), "schema.json"), source)
	if err != nil {
		log.Fatalf("%s: %v", program, err)
	}
	err = tf5server.Serve(source, func() tfprotov5.ProviderServer { return recorded })
	if err != nil {
		log.Fatal(err)
	}
}

func read(file, source string) (*provider, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var document struct {
		Schemas map[string]struct {
			Provider  schema
			Resources map[string]schema `json:"resource_schemas"`
		} `json:"provider_schemas"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	written, known := document.Schemas[source]
	if !known {
		return nil, fmt.Errorf("%s has no schema of %s", file, source)
	}
	resources := map[string]*tfprotov5.Schema{}
	for name, resource := range written.Resources {
		resources[name] = &tfprotov5.Schema{Block: convert(resource.Block)}
	}
	return &provider{own: &tfprotov5.Schema{Block: convert(written.Provider.Block)}, resources: resources}, nil
}

func convert(from block) *tfprotov5.SchemaBlock {
	to := &tfprotov5.SchemaBlock{}
	for name, item := range from.Attributes {
		kind, err := tftypes.ParseJSONType(item.Type) //nolint:staticcheck // the form of the recorded schemas
		if err != nil {
			log.Fatalf("%s: %v", name, err)
		}
		to.Attributes = append(to.Attributes, &tfprotov5.SchemaAttribute{
			Name: name, Type: kind, Required: item.Required, Optional: item.Optional, Computed: item.Computed,
			Sensitive: item.Sensitive,
		})
	}
	for name, item := range from.BlockTypes {
		to.BlockTypes = append(to.BlockTypes, &tfprotov5.SchemaNestedBlock{
			TypeName: name, Block: convert(item.Block), Nesting: nesting[item.NestingMode], MinItems: item.MinItems,
			MaxItems: item.MaxItems,
		})
	}
	return to
}

func (p *provider) GetProviderSchema(
	context.Context, *tfprotov5.GetProviderSchemaRequest,
) (*tfprotov5.GetProviderSchemaResponse, error) {
	return &tfprotov5.GetProviderSchemaResponse{Provider: p.own, ResourceSchemas: p.resources}, nil
}

func (p *provider) PrepareProviderConfig(
	_ context.Context, request *tfprotov5.PrepareProviderConfigRequest,
) (*tfprotov5.PrepareProviderConfigResponse, error) {
	return &tfprotov5.PrepareProviderConfigResponse{PreparedConfig: request.Config}, nil
}

func (p *provider) ConfigureProvider(
	context.Context, *tfprotov5.ConfigureProviderRequest,
) (*tfprotov5.ConfigureProviderResponse, error) {
	return &tfprotov5.ConfigureProviderResponse{}, nil
}

func (p *provider) ValidateResourceTypeConfig(
	context.Context, *tfprotov5.ValidateResourceTypeConfigRequest,
) (*tfprotov5.ValidateResourceTypeConfigResponse, error) {
	return &tfprotov5.ValidateResourceTypeConfigResponse{}, nil
}

func (p *provider) UpgradeResourceState(
	_ context.Context, request *tfprotov5.UpgradeResourceStateRequest,
) (*tfprotov5.UpgradeResourceStateResponse, error) {
	kind := p.resources[request.TypeName].ValueType()
	value, err := request.RawState.Unmarshal(kind)
	if err != nil {
		return nil, err
	}
	state, err := tfprotov5.NewDynamicValue(kind, value)
	return &tfprotov5.UpgradeResourceStateResponse{UpgradedState: &state}, err
}

func (p *provider) ReadResource(
	_ context.Context, request *tfprotov5.ReadResourceRequest,
) (*tfprotov5.ReadResourceResponse, error) {
	return &tfprotov5.ReadResourceResponse{NewState: request.CurrentState}, nil
}

// What the provider computes is unknown in a plan, and gets a value when it is applied.
func (p *provider) PlanResourceChange(
	_ context.Context, request *tfprotov5.PlanResourceChangeRequest,
) (*tfprotov5.PlanResourceChangeResponse, error) {
	state, err := p.changed(request.TypeName, request.ProposedNewState, func(kind tftypes.Type, value tftypes.Value) tftypes.Value {
		if value.IsNull() {
			return tftypes.NewValue(kind, tftypes.UnknownValue)
		}
		return value
	})
	return &tfprotov5.PlanResourceChangeResponse{PlannedState: state}, err
}

func (p *provider) ApplyResourceChange(
	_ context.Context, request *tfprotov5.ApplyResourceChangeRequest,
) (*tfprotov5.ApplyResourceChangeResponse, error) {
	state, err := p.changed(request.TypeName, request.PlannedState, func(kind tftypes.Type, value tftypes.Value) tftypes.Value {
		switch {
		case value.IsKnown():
			return value
		case kind.Is(tftypes.String):
			return tftypes.NewValue(kind, "stand-in-"+rand.Text())
		default:
			return tftypes.NewValue(kind, nil)
		}
	})
	return &tfprotov5.ApplyResourceChangeResponse{NewState: state}, err
}

func (p *provider) StopProvider(
	context.Context, *tfprotov5.StopProviderRequest,
) (*tfprotov5.StopProviderResponse, error) {
	return &tfprotov5.StopProviderResponse{}, nil
}

// The value, with the attributes of the resource itself that a provider computes as `value` gives them.
func (p *provider) changed(
	name string, from *tfprotov5.DynamicValue, value func(tftypes.Type, tftypes.Value) tftypes.Value,
) (*tfprotov5.DynamicValue, error) {
	resource := p.resources[name]
	kind := resource.ValueType()
	whole, err := from.Unmarshal(kind)
	if err != nil || whole.IsNull() {
		return from, err
	}
	var parts map[string]tftypes.Value
	if err := whole.As(&parts); err != nil {
		return nil, err
	}
	for _, item := range resource.Block.Attributes {
		if item.Computed {
			parts[item.Name] = value(item.Type, parts[item.Name])
		}
	}
	made, err := tfprotov5.NewDynamicValue(kind, tftypes.NewValue(kind, parts))
	return &made, err
}
