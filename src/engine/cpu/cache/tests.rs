use super::*;
use crate::cache::{Class, Eviction, KvType, LayerShape, Plan, rows};
use crate::engine::cpu::kernels::Single;
use proptest::prelude::*;

const HEAD_DIM: usize = 4;
const BLOCK: usize = 16;

/// The value written for a token: it encodes the token, the head, and key or value.
fn value(position: u64, head: usize, side: usize) -> f32 {
    (4 * position as usize + 2 * head + side) as f32
}

/// What a KV head sees, given the rows that token `t` of the block is to read.
fn seen(cache: &Cache<Single>, layer: usize, head: usize, t: usize) -> Vec<[f32; 2]> {
    let place = cache.tables.layout().place(layer, head);
    // SAFETY: nobody writes here.
    let places = unsafe { cache.places(&cache.plain, place, (layer, head)) };
    let runs = cache.visible(layer, head, t);
    let mut seen = Vec::with_capacity(rows(runs));
    for run in runs {
        let place = match run.place {
            Place::Ring => &places.ring,
            Place::Window => &places.window,
            Place::Block => &places.block,
        };
        for row in (0..run.len).map(|i| run.row(i)) {
            seen.push(place.first.map(|first| {
                // SAFETY: every row of a run is a row of its place.
                let row =
                    unsafe { std::slice::from_raw_parts(first.add(row * HEAD_DIM), HEAD_DIM) };
                assert!(row.iter().all(|v| *v == row[0]), "half a row: {row:?}");
                row[0]
            }));
        }
    }
    seen
}

/// Processes a block of tokens, and returns what is seen for each layer, head and token; heads are
/// numbered as `named` says.
fn process(
    cache: &mut Cache<Single>,
    len: usize,
    named: impl Fn(usize, usize) -> usize,
) -> Vec<Vec<[f32; 2]>> {
    let position = cache.tables.position();
    let layout = Arc::clone(cache.tables.layout());
    let mut all = Vec::new();
    cache.tables.begin(len);
    cache.check_visible(len).unwrap();
    for (layer, shape) in layout.layers().iter().enumerate() {
        for head in 0..shape.kv_heads {
            for t in 0..len {
                // SAFETY: this thread is alone.
                let sides = unsafe { cache.block_row(layer, head, t) };
                for (side, row) in sides.into_iter().enumerate() {
                    row.fill(value(position + t as u64, named(layer, head), side));
                }
            }
        }
        for head in 0..shape.kv_heads {
            all.extend((0..len).map(|t| seen(cache, layer, head, t)));
        }
        cache.commit(layer);
    }
    cache.tables.finish();
    all
}

fn image(cache: &mut Cache<Single>) -> Vec<u8> {
    let mut image = Vec::new();
    let pieces = cache.pieces(&mut |piece| {
        image.extend_from_slice(piece);
        Ok(())
    });
    pieces.unwrap();
    assert_eq!(image.len() as u64, cache.tables.image_bytes());
    image
}

/// The same state in another cache of the same layout.
fn moved(cache: &mut Cache<Single>) -> Cache<Single> {
    let image = image(cache);
    let mut new = Cache::<Single>::new(Arc::clone(cache.tables.layout()), BLOCK).unwrap();
    let numbers = cache.tables.encode();
    let saved = new.tables.decode(cache.tables.position(), &numbers).unwrap();
    new.tables = saved.into_tables(&new.tables).unwrap();
    let mut rest = &image[..];
    let pieces = new.pieces(&mut |piece| {
        let (own, after) = rest.split_at(piece.len());
        piece.copy_from_slice(own);
        rest = after;
        Ok(())
    });
    pieces.unwrap();
    assert!(rest.is_empty());
    new
}

fn class() -> impl Strategy<Value = Class> {
    (1u64..6, 0usize..6, 0usize..9, any::<bool>()).prop_map(|(chunk, window, ring, thin)| Class {
        layer: 0,
        heads: vec![0],
        plan: Plan::new(chunk, chunk / 2).unwrap(),
        window,
        ring,
        eviction: if thin { Eviction::Thin } else { Eviction::Drop },
        kv: KvType::F32,
    })
}

#[test]
fn a_table_that_points_outside_of_the_cache_is_an_error() {
    let layout = |ring, window| {
        let shape = LayerShape { kv_heads: 1, head_dim: HEAD_DIM, scan: 0, conv: 0 };
        let class = Class {
            layer: 0,
            heads: vec![0],
            plan: Plan::new(1, 0).unwrap(),
            window,
            ring,
            eviction: Eviction::Drop,
            kv: KvType::F32,
        };
        Arc::new(Layout::new(vec![shape], vec![class]).unwrap())
    };
    for (ring, window, place) in [(9, 3, "Ring"), (4, 7, "Window")] {
        let mut cache = Cache::<Single>::new(layout(4, 3), BLOCK).unwrap();
        cache.tables = Tables::new(layout(ring, window), BLOCK).unwrap();
        let refused = (0..BLOCK).find_map(|_| {
            cache.tables.begin(1);
            let checked = cache.check_visible(1);
            cache.tables.finish();
            checked.err()
        });
        let message = refused.unwrap().to_string();
        assert!(message.ends_with(&format!("to row 4 of 4 in {place}")), "{message}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Block(usize),
    Shrink(usize),
    Moved,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1..=BLOCK).prop_map(Event::Block),
        1 => (0usize..9).prop_map(Event::Shrink),
        1 => Just(Event::Moved),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_head_sees_what_it_would_see_alone(
        kinds in prop::collection::vec(class(), 3),
        layers in prop::collection::vec(prop::collection::vec(0usize..3, 1..5), 1..3),
        events in prop::collection::vec(event(), 1..16),
    ) {
        let shape = |kv_heads| LayerShape { kv_heads, head_dim: HEAD_DIM, scan: 3, conv: 2 };
        let mut classes = Vec::new();
        for (layer, of_heads) in layers.iter().enumerate() {
            for (kind, class) in kinds.iter().enumerate() {
                let heads: Vec<usize> =
                    (0..of_heads.len()).filter(|head| of_heads[*head] == kind).collect();
                if !heads.is_empty() {
                    classes.push(Class { layer, heads, ..class.clone() });
                }
            }
        }
        let shapes = layers.iter().map(|of_heads| shape(of_heads.len())).collect();
        let layout = Arc::new(Layout::new(shapes, classes).unwrap());
        let mut all = Cache::<Single>::new(Arc::clone(&layout), BLOCK).unwrap();
        prop_assert_eq!(all.state_bytes() as u64, layout.state_bytes());
        // One cache for each head of each layer.
        let name = |layer: usize, head: usize| 5 * layer + head;
        let of_heads = layers.iter().enumerate().flat_map(|(layer, of_heads)| {
            of_heads.iter().enumerate().map(move |(head, kind)| (layer, head, *kind))
        });
        let mut alone: Vec<(usize, Cache<Single>)> = of_heads
            .map(|(layer, head, kind)| {
                let own = Layout::new(vec![shape(1)], vec![kinds[kind].clone()]).unwrap();
                (name(layer, head), Cache::new(Arc::new(own), BLOCK).unwrap())
            })
            .collect();
        for event in events {
            match event {
                Event::Block(len) => {
                    let seen = process(&mut all, len, name);
                    let expected: Vec<_> = alone
                        .iter_mut()
                        .flat_map(|(name, own)| process(own, len, |_, _| *name))
                        .collect();
                    prop_assert_eq!(seen, expected);
                }
                Event::Shrink(ring) => {
                    let classes = all.tables.layout().classes().len();
                    all.shrink(&vec![ring; classes]).unwrap();
                    alone.iter_mut().for_each(|(_, own)| own.shrink(&[ring]).unwrap());
                    let bytes = all.tables.layout().state_bytes();
                    prop_assert_eq!(all.state_bytes() as u64, bytes);
                }
                Event::Moved => all = moved(&mut all),
            }
        }
    }
}
