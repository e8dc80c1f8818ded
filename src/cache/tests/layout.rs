//! Classes of KV heads: any partition, each with memory of its own.

use super::*;
use proptest::prelude::*;
use std::sync::Arc;

/// Sizes of a layer, and for each of its KV heads which of three classes it is in.
type Layer = (LayerShape, Vec<usize>);

fn layer() -> impl Strategy<Value = Layer> {
    let heads = prop::collection::vec(0usize..3, 1..5);
    (heads, 1usize..40, 0usize..5, 0usize..5).prop_map(|(of_heads, half, scan, conv)| {
        let shape = LayerShape { kv_heads: of_heads.len(), head_dim: 2 * half, scan, conv };
        (shape, of_heads)
    })
}

/// The memory of a class, apart from its heads.
fn memory() -> impl Strategy<Value = Class> {
    let eviction = prop::sample::select(&Eviction::ALL[..]);
    let kv = prop::sample::select(&[KvType::F32, KvType::F16, KvType::I8, KvType::I4][..]);
    (1u64..6, 0usize..6, 0usize..9, eviction, kv).prop_map(|(chunk, window, ring, eviction, kv)| {
        Class { layer: 0, heads: vec![], plan: plan(chunk, chunk / 2), window, ring, eviction, kv }
    })
}

fn layout(layers: &[Layer], kinds: &[Class]) -> Layout {
    let mut classes = Vec::new();
    for (layer, (_, of_heads)) in layers.iter().enumerate() {
        for (kind, class) in kinds.iter().enumerate() {
            let heads: Vec<usize> =
                (0..of_heads.len()).filter(|head| of_heads[*head] == kind).collect();
            if !heads.is_empty() {
                classes.push(Class { layer, heads, ..class.clone() });
            }
        }
    }
    Layout::new(layers.iter().map(|(shape, _)| *shape).collect(), classes).unwrap()
}

fn process(tables: &mut Tables, tokens: usize) {
    tables.begin(tokens);
    tables.finish();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn any_partition_of_heads(
        layers in prop::collection::vec(layer(), 1..4),
        kinds in prop::collection::vec(memory(), 3),
        blocks in prop::collection::vec(0usize..30, 0..8),
        ring in 0usize..9,
    ) {
        let layout = Arc::new(layout(&layers, &kinds));
        for (layer, (shape, of_heads)) in layers.iter().enumerate() {
            for head in 0..shape.kv_heads {
                let (class, index) = layout.place(layer, head);
                prop_assert!(layout.classes_of(layer).contains(&class));
                let class = &layout.classes()[class];
                prop_assert_eq!(class.heads[index], head);
                prop_assert_eq!(class.ring, kinds[of_heads[head]].ring);
            }
        }

        // A class sees what it would see if it were alone, and equal classes share a table.
        let mut tables = Tables::new(Arc::clone(&layout), 64).unwrap();
        let alone = |class: &Class| {
            BlockTable::new(class.plan, class.window, class.ring, class.eviction).unwrap()
        };
        let mut each: Vec<BlockTable> = layout.classes().iter().map(alone).collect();
        let scored = layout.classes().iter().filter(|class| class.is_scored()).count();
        prop_assert!(tables.distinct().len() <= 3 + scored);
        for &len in &blocks {
            tables.begin(len);
            for (number, own) in each.iter_mut().enumerate() {
                own.begin(len);
                (0..len).for_each(|t| assert_eq!(own.visible(t), tables.class(number).visible(t)));
                assert_eq!(own.moves(), tables.class(number).moves());
                own.finish();
            }
            tables.finish();
        }

        // The image contains each live row once, and is never larger than the state.
        let mut rows = vec![[0; 2]; layout.classes().len()];
        let mut bytes = 0;
        tables.image(&mut |stretch| {
            bytes += stretch.bytes(&layout);
            match stretch {
                Stretch::Ring(of) => rows[of.class][0] += of.slots.len(),
                Stretch::Window(of) => rows[of.class][1] += of.slots.len(),
                _ => {}
            }
            Ok(())
        }).unwrap();
        prop_assert_eq!(bytes, tables.image_bytes());
        prop_assert!(bytes <= layout.state_bytes());
        let position = tables.position() as usize;
        for ((rows, class), own) in rows.into_iter().zip(layout.classes()).zip(&each) {
            let window = position.min(class.window + 1);
            let both = 2 * class.heads.len();
            prop_assert_eq!(rows, [both * own.rows(), both * window]);
        }

        // Saved and resumed, for a state of this layout only.
        let numbers = tables.encode();
        prop_assert!(numbers.len() as u64 <= layout.most_numbers(tables.position()));
        let saved = tables.decode(tables.position(), &numbers).unwrap();
        prop_assert_eq!(saved.image_bytes(), bytes);
        let fresh = Tables::new(Arc::clone(&layout), 5).unwrap();
        let again = saved.clone().into_tables(&fresh).unwrap();
        prop_assert_eq!(again.encode(), numbers);
        prop_assert_eq!(again.room(), tables.room().min(5));

        // Shrunk: every class keeps what it would keep alone.
        let before = layout.state_bytes();
        let remap = tables.shrink(&vec![ring; each.len()]).unwrap();
        let kept: Vec<Vec<usize>> = each.iter_mut().map(|own| own.shrink(ring)).collect();
        for (class, side, head, slots) in remap.heads() {
            prop_assert!(side < 2 && head < layout.classes()[class].heads.len());
            prop_assert_eq!(slots, &kept[class][..]);
            prop_assert!(slots.len() <= remap.to.classes()[class].ring);
        }
        let heads: usize = layout.classes().iter().map(|class| 2 * class.heads.len()).sum();
        prop_assert_eq!(remap.heads().count(), heads);
        prop_assert!(tables.layout().state_bytes() <= before);
        if *tables.layout() != layout {
            prop_assert!(saved.into_tables(&tables).is_err(), "a state of another layout");
        }
    }

    #[test]
    fn what_is_no_partition_is_refused(
        heads in prop::collection::vec(prop::collection::vec(0usize..4, 0..4), 0..4),
        kv_heads in 0usize..4,
    ) {
        let shape = LayerShape { kv_heads, head_dim: 2, scan: 0, conv: 0 };
        let class = |heads: &Vec<usize>| Class {
            layer: 0,
            heads: heads.clone(),
            plan: Plan::EVERY_TOKEN,
            window: 0,
            ring: 4,
            eviction: Eviction::Drop,
            kv: KvType::F16,
        };
        let mut all: Vec<usize> = heads.iter().flatten().copied().collect();
        all.sort_unstable();
        let sorted = heads.iter().all(|heads| heads.is_sorted_by(|a, b| a < b));
        let sound = sorted && all == (0..kv_heads).collect::<Vec<_>>();
        let layout = Layout::new(vec![shape], heads.iter().map(class).collect());
        prop_assert_eq!(layout.is_ok(), sound);
    }
}

#[test]
fn layers_and_limits_are_checked() {
    let class = Class {
        layer: 1,
        heads: vec![0],
        plan: Plan::EVERY_TOKEN,
        window: 0,
        ring: 4,
        eviction: Eviction::Drop,
        kv: KvType::F16,
    };
    let shape = LayerShape { kv_heads: 1, head_dim: 2, scan: 0, conv: 0 };
    assert!(Layout::new(vec![shape], vec![class.clone()]).is_err(), "a layer that is not there");
    let class = Class { layer: 0, ..class };
    assert!(Layout::new(vec![shape; 2], vec![class.clone()]).is_err(), "a layer without a class");
    let longest = Class { window: MOST_WINDOW, ring: MOST_RING, ..class.clone() };
    assert!(Layout::new(vec![shape], vec![longest.clone()]).unwrap().state_bytes() > 1 << 34);
    for beyond in [
        Class { window: MOST_WINDOW + 1, ..class.clone() },
        Class { window: usize::MAX, ..class.clone() },
        Class { ring: MOST_RING + 1, ..class.clone() },
    ] {
        let e = Layout::new(vec![shape], vec![beyond]).unwrap_err().to_string();
        assert!(e.contains("must be between 0 and"), "{e}");
    }
}

#[test]
fn there_is_one_plan_per_class() {
    let class = Class {
        layer: 0,
        heads: vec![0, 1],
        plan: Plan::EVERY_TOKEN,
        window: 2,
        ring: 4,
        eviction: Eviction::Drop,
        kv: KvType::F16,
    };
    let shape = LayerShape { kv_heads: 2, head_dim: 2, scan: 0, conv: 0 };
    let mut tables =
        Tables::new(Arc::new(Layout::new(vec![shape], vec![class]).unwrap()), 8).unwrap();
    process(&mut tables, 3);
    assert!(tables.set_plans(&[]).is_err() && tables.set_plans(&[plan(2, 0); 2]).is_err());
    tables.set_plans(&[plan(2, 0)]).unwrap();
    assert_eq!(tables.layer(0).plan(), plan(2, 0));
}

/// Keys and values of a token in a head of 64 values: values, and scales.
#[test]
fn a_token_takes_the_bytes_of_its_type() {
    let bytes = |kv: KvType, ring, window| kv.bytes(1, 64, ring, window);
    for (kv, ring, window) in [
        (KvType::F32, 2 * 256, 2 * 256),
        (KvType::F16, 2 * 128, 2 * 128),
        (KvType::I8, 2 * (64 + 4), 2 * 128),
        (KvType::I4, 2 * (32 + 2 * 2), 2 * 128),
    ] {
        assert_eq!((bytes(kv, 1, 0), bytes(kv, 0, 1)), (ring, window), "{kv}");
    }
}
